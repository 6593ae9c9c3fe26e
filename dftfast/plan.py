"""`python -m dftfast.plan`: what a run will take on cards that are not here."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dftfast.runtime.command import ArgumentParser, run
from dftfast.runtime.errors import UserError

if TYPE_CHECKING:
    from dftfast.config import Config
    from dftfast.planning.chips import Chip
    from dftfast.planning.text_lengths import TextLengths

PRESETS = "qwen3-4b,qwen3-8b,qwen3-14b"
LARGEST = 10_000_000  # texts that lengths are drawn for


def main(arguments: Sequence[str]) -> None:
    parser = make_parser()
    options, rest = parser.parse_known_args(arguments)
    from dftfast.config import parse_command_line
    from dftfast.planning.model_sizes import model_sizes
    from dftfast.planning.plan_table import as_json, table
    from dftfast.planning.run_plan import RunPlan
    from dftfast.runtime.files import write_json

    own = any(each.partition("=")[0] in ("--config", "--resume") for each in rest)
    presets = (options.preset or ("" if own else PRESETS)).split(",")
    configs = [parse_command_line([*(["--preset", p] if p else []), *rest]) for p in presets]
    counts = _counts(options.cards)
    chip, texts = pick_chip(options), pick_texts(options, configs[0])
    plans = [
        (c.model.name or "SmolLM2-135M", RunPlan(c, model_sizes(c.model.name), texts, chip, count))
        for c in configs
        for count in counts
    ]
    print(table(plans, chip, texts))
    if options.json:
        write_json(options.json, as_json(plans, chip, texts))


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="dftfast plan",
        description="Minutes, memory and traffic of a run, from sizes alone. Other options are "
        "those of `dftfast train`.",
    )
    parser.add_argument("--preset", help=f"one or several, as {PRESETS} (the default)")
    parser.add_argument("--cards", default="1,2,6", help="numbers of cards (default: %(default)s)")
    parser.add_argument(
        "--card",
        default="rtx-6000-ada",
        help="rtx-6000-ada, h100, or here: this processor, measured (default: %(default)s)",
    )
    parser.add_argument("--measured", help="gpu.json of benchmarks/gpu.py: take its shares")
    parser.add_argument(
        "--texts", type=int, default=100_000, help="of a corpus not given by --data"
    )
    parser.add_argument("--prompt-tokens", type=int, default=120, help="(default: %(default)s)")
    parser.add_argument("--text-tokens", type=int, default=400, help="mean (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write seconds and bytes to this file, too")
    return parser


def pick_chip(options: Namespace) -> Chip:
    """The card that was named, with the shares of a measured one where they are given."""
    import dataclasses

    from dftfast.planning.calibrate import this_processor
    from dftfast.planning.chips import CHIPS
    from dftfast.planning.measured_shares import read_shares

    if options.card == "here":
        return this_processor()
    if options.card not in CHIPS:
        raise UserError(f"--card: {options.card!r} is not among {', '.join(CHIPS)}, here")
    chip = CHIPS[options.card]
    if not options.measured:
        return chip
    origin = f"{chip.origin}; shares from {options.measured}"
    return dataclasses.replace(chip, shares=read_shares(options.measured), origin=origin)


def pick_texts(options: Namespace, config: Config) -> TextLengths:
    """Lengths of the corpus that the configuration names, or assumed ones."""
    from dftfast.planning.text_lengths import assumed_lengths, corpus_lengths

    data = config.data
    if data.train:
        limits = {"max_words": data.max_words, "limit": data.limit}
        return corpus_lengths(data.train, skip_bad_lines=data.skip_bad_lines, **limits)
    sizes = {"texts": options.texts, "text-tokens": options.text_tokens}
    for name, value in {**sizes, "prompt-tokens": options.prompt_tokens}.items():
        if not 10 <= value <= LARGEST:
            raise UserError(f"--{name}: {value} is not between 10 and {LARGEST:,}")
    return assumed_lengths(options.texts, options.prompt_tokens, options.text_tokens)


def _counts(text: str) -> list[int]:
    """ "1,2,6" as numbers."""
    counts = [int(part) if part.isdecimal() else 0 for part in text.split(",")]
    if not all(1 <= count <= 1024 for count in counts):
        raise UserError(f"--cards: {text!r} is not numbers from 1 to 1,024 with commas, as 1,2,6")
    return counts


if __name__ == "__main__":
    run(main)
