"""`python -m dftfast.generate`: prompts in, generations out.

From any model folder, with or without adapters, or any OpenAI-compatible API.
"""

from __future__ import annotations

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


def generate(
    prompts: Sequence[str],
    model: str | None = None,
    adapters: Sequence[str | Path] = (),
    sampler: Sampler | None = None,
    seed: int = 0,
    n: int = 1,
) -> list[dict]:
    """Write `n` texts for each prompt; rows as in a file of generations, with ids from "1".

    Args:
        prompts: given to the model verbatim, as the user's message.
        model: folder or hub id; None is SmolLM2-135M-Instruct.
        adapters: PEFT folders of LoRAs, applied in order.
        sampler: None samples the model's own distribution, at most 512 tokens of it.
    """
    from dftfast.pipeline.answers import LocalModel, write_texts
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
    documents = _documents(options)
    out = _output(options.out)
    rows, partial = (
        ask(documents, options, out) if options.endpoint else (_local(documents, options), None)
    )
    if options.select:
        from dftfast.pipeline.answers import select

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
        help="corpus or prompts in any form of docs/corpus.md, or .txt with a prompt a line",
    )
    add("--skip-bad-lines", action="store_true", help="leave bad lines out, each named")
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
    add(
        "--max-tokens",
        type=int,
        default=MAX_TOKENS,
        help="longest text in tokens (default %(default)s)",
    )


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
    # refuses bad values
    Sampler(options.temperature, top_p=options.top_p, max_tokens=options.max_tokens)
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
    from dftfast.pipeline.answers import LocalModel, write_texts
    from dftfast.rollout import Sampler

    names = ("temperature", "top_k", "top_p", "min_p", "max_tokens")
    sampler = Sampler(**{name: getattr(options, name) for name in names})
    model = LocalModel(options.model, options.adapter, options.device, options.dtype)
    return write_texts(documents, model, sampler, options.seed, options.n)


def _documents(options: Namespace) -> list:
    from dftfast.data import load_corpus
    from dftfast.data.row_files import UTF16

    path, limit = Path(options.prompts), options.limit

    if limit is not None and limit < 1:
        raise UserError(f"command line: --limit must be at least 1, not {limit}")
    if path.suffix != ".txt":
        skip = {"skip_bad_lines": options.skip_bad_lines, "skip_option": "--skip-bad-lines"}
        return load_corpus([options.prompts], limit=limit, needs_text=False, **skip)
    try:
        raw = path.read_bytes()
        if raw.startswith(UTF16):
            raise UserError(f"{path}: UTF-16 (byte order mark); save it as UTF-8")
        lines = raw.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
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
