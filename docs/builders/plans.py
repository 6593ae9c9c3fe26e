"""What `dftfast plan` prints of the presets, as a block of a page."""

from __future__ import annotations

from contextlib import redirect_stdout
from functools import cache
from io import StringIO

from dftfast.plan import main

# Presets of one card, with the number of texts that they are for.
ONE_CARD = {"qwen3-4b-24gb": 5_000, "qwen3-4b-48gb": 20_000}
OF_48_GB = (
    "Minutes and GiB are those of an RTX 6000 Ada with 48 GB.\n"
    "The cache of rollouts takes half of what is free, so a card of 24 GB holds less of it.\n"
)


@cache
def plan_block() -> str:
    """The three presets of several cards, then those of one."""
    blocks = [_printed([]), "### One card\n", OF_48_GB]
    for preset, texts in ONE_CARD.items():
        given = ["--preset", preset, "--cards", "1", "--texts", str(texts)]
        table = _printed(given).partition("\n\n")[0] + "\n```\n"
        blocks += [f"`dftfast plan {' '.join(given)}`, likewise simulated:\n", table]
    return "\n".join(blocks)


def _printed(arguments: list[str]) -> str:
    printed = StringIO()
    with redirect_stdout(printed):
        main(arguments)
    return f"```text\n{printed.getvalue()}```\n"
