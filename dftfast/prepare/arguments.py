"""The command: its options, and what they come to."""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from dftfast.prepare.installed import check_installed
from dftfast.prepare.model_options import add_model_options, model_steps
from dftfast.prepare.rule_names import RULES
from dftfast.prepare.settings import Settings
from dftfast.runtime.command import ArgumentParser
from dftfast.runtime.errors import UserError
from dftfast.runtime.files import make_parent

log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    check_installed()
    settings, out = _settings(options), _out(options.out)
    from dftfast.prepare.flow import Steps, prepare
    from dftfast.prepare.prepared_page import write_report

    model = model_steps(options, settings, out)
    steps = Steps(options.limit, model, _counter(options))
    tally = prepare(options.sources, out, settings, steps)
    page = write_report(tally, out)
    for reason, number in tally.skipped.most_common(5):
        log.warning("not read: %s: %d, such as %s", reason, number, tally.examples[reason][0])
    log.info(
        "%s: %d rows of %d documents; %d lines removed, %d documents left out, %d duplicates",
        *(out, tally.rows, tally.read, tally.lines.total(), tally.left_out.total()),
        tally.duplicates,
    )
    if tally.model:
        log.info("model: %s", ", ".join(f"{what} {n}" for what, n in tally.model.most_common()))
    log.info("look at %s before you train", page)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m dftfast.prepare",
        description="From documents to a corpus with briefs, which train, evaluate and generate "
        "read (extra dftfast[prepare]).",
    )
    add = parser.add_argument
    add(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="file, folder, glob pattern or hub:OWNER/NAME of .txt, .md, .html, .eml, .mbox, "
        ".docx, .csv, .jsonl, .jsonl.gz and .parquet",
    )
    add("--out", required=True, help="corpus to write (.jsonl); prepared.html goes beside it")
    _add_reading(parser)
    add(
        "--without",
        action="append",
        default=[],
        metavar="RULE",
        help=f"turn a rule of cleaning off; several times for several: {', '.join(RULES)}",
    )
    add("--languages", help="keep these alone, by codes of ISO 639-1 with commas between")
    add(
        "--mask",
        action="store_true",
        help="replace e-mail addresses, phone, card and bank numbers and IP addresses",
    )
    add(
        "--region",
        default=Settings.region,
        help="country of phone numbers without a country's code (default %(default)s)",
    )
    add("--limit", type=int, help="write only this many rows, chosen by hash: a trial")
    add("--tokenizer", help="model folder or hub id whose tokens are counted in each row")
    add_model_options(parser)
    return parser


def _add_reading(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--max-words",
        type=int,
        default=Settings.max_words,
        help="longer documents are split at headings, paragraphs, lines or sentences "
        "(default %(default)s)",
    )
    add(
        "--min-words",
        type=int,
        default=Settings.min_words,
        help="shorter texts are left out (default %(default)s)",
    )
    add(
        "--split-at",
        metavar="REGEX",
        help="a line of a text file that this is found in begins another document",
    )
    add(
        "--text-field",
        default=Settings.text_field,
        help="column that holds the text, in tables and rows (default %(default)s)",
    )


def _settings(options: argparse.Namespace) -> Settings:
    if options.max_words < 20:
        raise UserError(f"--max-words: must be at least 20, not {options.max_words}")
    if not 1 <= options.min_words <= options.max_words:
        raise UserError(f"--min-words: must be between 1 and --max-words, not {options.min_words}")
    if options.limit is not None and options.limit < 1:
        raise UserError(f"--limit: must be at least 1, not {options.limit}")
    for rule in options.without:
        if rule not in RULES:
            raise UserError(f"--without: no rule is called {rule!r}; there are {', '.join(RULES)}")
    try:
        re.compile(options.split_at or "")
    except re.error as error:
        raise UserError(f"--split-at: not a regular expression: {error}") from None
    languages = (code.strip().lower() for code in (options.languages or "").split(","))
    return Settings(
        options.max_words,
        options.min_words,
        options.split_at,
        options.text_field,
        frozenset(options.without),
        frozenset(code for code in languages if code),
        options.mask,
        options.region.upper(),
    )


def _out(name: str) -> Path:
    """Refused now rather than after the work."""
    path = Path(name)
    if path.suffix != ".jsonl" or path.is_dir():
        raise UserError(f"--out: {name} must be a file that ends in .jsonl")
    make_parent(path)
    return path


def _counter(options: argparse.Namespace):
    if options.tokenizer is None:
        return None
    from dftfast.model.pretrained import resolve_model
    from dftfast.model.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_folder(resolve_model(options.tokenizer))
    return lambda text: len(tokenizer.encode_batch([text])[0])
