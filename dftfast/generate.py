"""`python -m dftfast.generate`: prompts in, generations out.

From any model folder, with or without adapters, or any OpenAI-compatible API.
"""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dftfast.generate_options import MAX_TOKENS, check_choices, check_endpoint, make_parser
from dftfast.runtime.callable_module import make_callable
from dftfast.runtime.command import run
from dftfast.runtime.errors import UserError
from dftfast.runtime.files import make_parent

if TYPE_CHECKING:
    from dftfast.data import Document
    from dftfast.data.part_file import PartFile
    from dftfast.endpoint.cache import AnswerCache
    from dftfast.pipeline.local_texts import Texts
    from dftfast.rollout import Sampler

log = logging.getLogger(__name__)
make_callable(__name__)  # dftfast.generate(prompts)


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
    from dftfast.pipeline.local_texts import LocalModel, Texts
    from dftfast.rollout import Sampler

    sampler, rows = sampler or Sampler(max_tokens=MAX_TOKENS), []
    texts = Texts(documents_of(prompts), LocalModel(model, adapters), sampler, seed, n)
    texts.write(set(), rows.append)
    return in_order(rows, texts.documents.values())


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


def in_order(rows: Iterable[dict], documents: Iterable[Document]) -> list[dict]:
    """The rows in the order of the documents and of their samples."""
    place = {document.id: number for number, document in enumerate(documents)}
    return sorted(rows, key=lambda row: (place[row["id"]], row.get("sample", 0)))


def main(arguments: Sequence[str]) -> None:
    options = make_parser().parse_args(arguments)
    if options.select and options.n < 2:
        raise UserError(
            "command line: --select chooses among several texts for each prompt; give --n as well"
        )
    if options.n < 1:
        raise UserError(f"command line: --n must be at least 1, not {options.n}")
    check_choices(options)
    if options.endpoint:
        check_endpoint(options)
    documents = _documents(options)
    if options.out is None:
        _to_screen(documents, options)
        return
    out = _output(options.out, options.overwrite)
    rows, kept = (ask if options.endpoint else _local)(documents, options, out)
    there = len(rows)
    if options.select:
        from dftfast.pipeline.answers import select

        rows = select(rows, options)
    from dftfast.data.generations import write_generations

    write_generations(out, rows)
    if there >= len(documents) * options.n or not options.endpoint:
        kept.delete()
    log.info("%d generations are in %s", len(rows), out)


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


def _local(documents: list, options: Namespace, out: Path) -> tuple[list[dict], PartFile]:
    """Rows by the model on this machine that the options name, and the file that kept them."""
    from dftfast.data import prompt_messages
    from dftfast.data.part_file import PartFile
    from dftfast.runtime.signals import stop_on_signals

    texts = _texts(documents, options)
    depends_on = ("model", "adapter", "dtype", "n", "seed", "temperature", "top_k", "top_p")
    settings = {name: getattr(options, name) for name in (*depends_on, "min_p", "max_tokens")}
    asked = [(each.id, prompt_messages(each)) for each in texts.documents.values()]
    kept = PartFile(out, {**settings, "prompts": asked})
    if kept.rows:
        log.info("%d texts are there already, in %s", len(kept.rows), kept.path)
    try:
        with stop_on_signals():
            texts.write(set(kept.rows), kept.add)
    finally:
        kept.close()
    return in_order(kept.rows.values(), texts.documents.values()), kept


def _texts(documents: list, options: Namespace) -> Texts:
    from dftfast.pipeline.local_texts import LocalModel, Texts
    from dftfast.rollout import Sampler

    names = ("temperature", "top_k", "top_p", "min_p", "max_tokens")
    sampler = Sampler(**{name: getattr(options, name) for name in names})
    sizes = (options.sequences, options.step_tokens, options.cache_tokens)
    model = LocalModel(options.model, options.adapter, options.device, options.dtype, *sizes)
    return Texts(documents, model, sampler, options.seed, options.n, options.skip_bad_lines)


def _to_screen(documents: list, options: Namespace) -> None:
    """The text of a single prompt, piece by piece as it is written."""
    for piece in _texts(documents, options).stream():
        print(piece, end="", flush=True)
    print()


def _documents(options: Namespace) -> list:
    from dftfast.data import load_corpus
    from dftfast.data.row_files import UTF16

    limit = options.limit

    if limit is not None and limit < 1:
        raise UserError(f"command line: --limit must be at least 1, not {limit}")
    if options.prompt is not None:
        documents = documents_of([options.prompt])
        if not documents:
            raise UserError("command line: --prompt is empty")
        return documents
    path = Path(options.prompts)
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


def _output(name: str, overwrite: bool) -> Path:
    """The path to write to, refused now rather than after the work."""
    from dftfast.data.part_file import part_of

    path = Path(name)
    if path.is_dir():
        raise UserError(f"--out: {name} is a folder, not a file")
    unfinished = (part_of(path), path.with_name(f"{path.name}.partial"))
    if overwrite:
        for file in unfinished:
            file.unlink(missing_ok=True)
    elif path.exists() and not any(file.exists() for file in unfinished):
        raise UserError(f"--out: {name} is there already; name another file or give --overwrite")
    make_parent(path)
    return path


if __name__ == "__main__":
    run(main)
