"""`python -m dftfast.generate`: prompts in, generations out.

From any model folder, with or without adapters, or any OpenAI-compatible API.
"""

from __future__ import annotations

import dataclasses
import logging
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dftfast.endpoint import add_endpoint_options
from dftfast.runtime.callable_module import make_callable
from dftfast.runtime.command import ArgumentParser, run
from dftfast.runtime.errors import UserError

if TYPE_CHECKING:
    from dftfast.data import Document
    from dftfast.endpoint.cache import AnswerCache
    from dftfast.rollout import Sampler

log = logging.getLogger(__name__)
make_callable(__name__)  # dftfast.generate(prompts)
MAX_TOKENS = 512  # of a text, unless asked otherwise


@dataclasses.dataclass(frozen=True)
class LocalModel:
    """A model on this machine: a folder or hub id, LoRAs in their order, device and type."""

    name: str | None = None
    adapters: Sequence[str | Path] = ()
    device: str | None = None
    dtype: str | None = None


def generate(
    prompts: Sequence[str],
    model: str | None = None,
    adapters: Sequence[str | Path] = (),
    sampler: Sampler | None = None,
    seed: int = 0,
    n: int = 1,
) -> list[dict]:
    """Write ``n`` texts for each prompt; rows as in a file of generations, with ids from "1".

    Args:
        prompts: given to the model verbatim, as the user's message.
        model: folder or hub id; None is SmolLM2-135M-Instruct.
        adapters: PEFT folders of LoRAs, applied in order.
        sampler: None samples the model's own distribution, at most 512 tokens of it.
    """
    from dftfast.rollout import Sampler

    sampler = sampler or Sampler(max_tokens=MAX_TOKENS)
    return write_texts(documents_of(prompts), LocalModel(model, adapters), sampler, seed, n)


def documents_of(prompts: Sequence[str]) -> list[Document]:
    """Documents without a text, numbered from 1, for the prompts that are not blank."""
    from dftfast.data import Document

    return [
        Document(
            id=str(number), text="", prompt=line, messages=({"role": "user", "content": line},)
        )
        for number, line in enumerate(prompts, 1)
        if line.strip()
    ]


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.select and options.n < 2:
        raise UserError(
            "command line: --select chooses among several texts for each prompt; give --n as well"
        )
    if options.n < 1:
        raise UserError(f"command line: --n must be at least 1, not {options.n}")
    if options.endpoint:
        _check_endpoint(options)
    documents = _documents(Path(options.prompts), options.limit)
    out = _output(options.out)
    rows, partial = (
        ask(documents, options, out) if options.endpoint else (_local(documents, options), None)
    )
    if options.select:
        rows = select(rows, options)
    from dftfast.data.generations import write_generations

    write_generations(out, rows)
    if partial is not None and len(rows) >= len(documents) * (1 if options.select else options.n):
        partial.delete()
    log.info("%d generations are in %s", len(rows), out)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m dftfast.generate", description="Write a text for every prompt."
    )
    add = parser.add_argument
    add("--model", help="model folder or hub id; none is SmolLM2-135M-Instruct")
    add(
        "--adapter",
        action="append",
        default=[],
        help="PEFT folder of a LoRA; several are applied in order",
    )
    add(
        "--endpoint",
        metavar="NAME=URL,MODEL[,IN,OUT]",
        help="ask a model behind an OpenAI-compatible API instead (extra "
        "dftfast[judge]); its key is read from NAME_API_KEY; IN and OUT are US dollars "
        "for a million tokens",
    )
    add(
        "--prompts",
        required=True,
        help="corpus or prompts (.jsonl, .jsonl.gz, .parquet), or .txt with a prompt a line",
    )
    add("--out", required=True, help="file of generations to write (.jsonl)")
    _add_sampler_options(parser)
    add("--n", type=int, default=1, help="texts for each prompt (default %(default)s)")
    add(
        "--select",
        metavar="CORPUS",
        help="of the --n texts for each prompt keep one, so that those kept are together "
        "distributed like the human texts of this corpus",
    )
    add(
        "--embedder",
        help="sentence-transformers folder or hub id for --select; none is all-MiniLM-L6-v2",
    )
    add("--seed", type=int, default=0, help="seed of the sampler (default %(default)s)")
    add("--limit", type=int, help="use only this many of the prompts")
    add("--device", help="cpu, cuda or cuda:N; none is the GPU where there is one")
    add(
        "--dtype",
        choices=["bfloat16", "float32"],
        help="type of the weights; none is bfloat16 where that is faster, else float32",
    )
    add_endpoint_options(parser)
    return parser


def _add_sampler_options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--temperature", type=float, default=1.0, help="0 is greedy (default %(default)s)")
    add("--top-p", type=float, default=1.0, help="nucleus share; 1 is off (default %(default)s)")
    add(
        "--top-k",
        type=int,
        default=0,
        help="most likely tokens kept; 0 is off (default %(default)s)",
    )
    add(
        "--min-p",
        type=float,
        default=0.0,
        help="least share of the likeliest token's probability; 0 is off (default %(default)s)",
    )
    add("--max-tokens", type=int, default=512, help="longest text in tokens (default %(default)s)")


def _check_endpoint(options: Namespace) -> None:
    """Refuse what an endpoint cannot do."""
    own = {
        "--model": options.model,
        "--adapter": options.adapter,
        "--device": options.device,
        "--top-k": options.top_k,
        "--min-p": options.min_p,
    }
    for name, value in own.items():
        if value:
            raise UserError(
                f"command line: {name} is for models on this machine; leave it out with --endpoint"
            )


def ask(documents: list, options: Namespace, out: Path) -> tuple[list[dict], AnswerCache]:
    """Rows from an endpoint, and the answers kept beside `out` until all are there."""
    from dftfast.endpoint import Endpoint, limits_of
    from dftfast.endpoint.texts import generate_texts
    from dftfast.rollout import Sampler

    limits, budget = limits_of(options)
    Sampler(
        options.temperature, top_p=options.top_p, max_tokens=options.max_tokens
    )  # refuses bad values
    sampler = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        "max_tokens": options.max_tokens,
        "seed": options.seed,
    }
    endpoint = Endpoint.parse("--endpoint", options.endpoint)
    rows, partial = generate_texts(
        documents, endpoint, out, sampler, samples=options.n, limits=limits, budget=budget
    )
    if not rows:
        raise UserError(
            f"--endpoint: {endpoint.name} ({endpoint.host}) answered none of the "
            f"{len(documents)} prompts"
        )
    return rows, partial


def _local(documents: list, options: Namespace) -> list[dict]:
    """Rows by the model on this machine that the options of the command name."""
    from dftfast.rollout import Sampler

    names = ("temperature", "top_k", "top_p", "min_p", "max_tokens")
    sampler = Sampler(**{name: getattr(options, name) for name in names})
    model = LocalModel(options.model, options.adapter, options.device, options.dtype)
    return write_texts(documents, model, sampler, options.seed, options.n)


def write_texts(
    documents: Sequence[Document], model: LocalModel, sampler: Sampler, seed: int, n: int
) -> list[dict]:
    """Rows of generations for the documents, by a model on this machine."""
    from tqdm import tqdm

    from dftfast.data import prompt_messages
    from dftfast.data.generations import generation
    from dftfast.model.adapter import Adapter
    from dftfast.model.device import pick_device, pick_dtype
    from dftfast.model.policy import Policy
    from dftfast.model.pretrained import resolve_model
    from dftfast.model.tokenizer import Tokenizer
    from dftfast.rollout import Request, RolloutEngine

    device = pick_device(model.device)
    adapters = [Adapter.load(folder) for folder in model.adapters]
    folder = resolve_model(model.name)
    tokenizer = Tokenizer.from_folder(folder)
    prompts = [tokenizer.chat(prompt_messages(document)) for document in documents]
    policy = Policy(folder, pick_dtype(model.dtype, device), str(device))
    for adapter in adapters:
        adapter.check(policy.decoder)
        policy.adapters.append(adapter)
    if adapters:
        policy.merge_weights()
    requests = [Request(i, prompt, sampler, seed, n) for i, prompt in enumerate(prompts)]
    with tqdm(total=len(requests) * n, unit="text", dynamic_ncols=True) as bar:

        def show(done: int, _: int) -> None:
            bar.update(done - bar.n)

        engine = RolloutEngine(policy.decoder, tokenizer, agreement_samples=0)
        batch = engine.generate(requests, show)
    how = {
        name: getattr(sampler, name)
        for name in ("temperature", "top_k", "top_p", "min_p", "max_tokens")
    } | {"seed": seed}
    name = " + ".join([model.name or folder.name, *map(str, model.adapters)])
    return [
        generation(
            documents[int(batch.request[i])],
            tokenizer.decode(batch.output(i)).strip(),
            batch.output(i),
            batch.finish_reason[i],
            how,
            name,
        )
        | ({"sample": int(batch.sample[i])} if n > 1 else {})
        for i in range(len(batch))
    ]


def select(rows: list[dict], options: Namespace) -> list[dict]:
    """One row for each prompt, by population selection against the texts of a corpus.

    All discrepancies count alike. Texts that were cut off or are empty are not chosen, unless a
    prompt has no other.
    """
    from dftfast.config import Config
    from dftfast.data import load_corpus, prompt_messages
    from dftfast.distribution.population import make_terms, select_population
    from dftfast.distribution.samples import Samples
    from dftfast.model.embedder import Embedder
    from dftfast.model.pretrained import resolve_model
    from dftfast.model.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_folder(resolve_model(options.model))
    embedder, end = Embedder(options.embedder), tokenizer.eos_ids[0]

    def samples(texts: list[str], prompts: list[str]) -> Samples:
        tokens = [[*ids, end] for ids in tokenizer.encode_batch(texts)]
        return Samples.of(embedder.encode(texts), tokens, texts, prompts=prompts)

    usable = [row for row in rows if row["finish_reason"] == "stop" and row["text"]]
    kept = {row["id"]: row for row in reversed(rows)}  # the first of each prompt
    if usable:
        corpus = load_corpus([options.select])
        human = samples(
            [document.text for document in corpus],
            [prompt_messages(d)[-1]["content"] for d in corpus],
        )
        candidates = samples([row["text"] for row in usable], [row["prompt"] for row in usable])
        prompts = {identifier: number for number, identifier in enumerate(kept)}
        weights = Config().dft.weights.model_dump()
        terms = make_terms(candidates, human, tokenizer.vocab_size, weights)
        chosen, history = select_population(
            [prompts[row["id"]] for row in usable], terms, options.seed
        )
        kept |= {usable[i]["id"]: usable[i] for i in chosen}
        log.info(
            "chosen by what they are like together: J %.3f at random, %.3f chosen",
            history[0]["J"],
            history[-1]["J"],
        )
    order = dict.fromkeys(row["id"] for row in rows)
    return [{name: value for name, value in kept[i].items() if name != "sample"} for i in order]


def _documents(path: Path, limit: int | None) -> list:
    from dftfast.data import load_corpus

    if limit is not None and limit < 1:
        raise UserError(f"command line: --limit must be at least 1, not {limit}")
    if path.suffix != ".txt":
        return load_corpus([path], limit=limit, needs_text=False)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    documents = documents_of(lines)
    if not documents:
        raise UserError(f"{path}: no prompt in it")
    return documents[:limit]


def _output(name: str) -> Path:
    """The path to write to, refused now rather than after the work."""
    path = Path(name)
    if path.is_dir():
        raise UserError(f"--out: {name} is a folder, not a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out: {path.parent} cannot be made: {error.strerror}") from error
    return path


if __name__ == "__main__":
    run(main)
