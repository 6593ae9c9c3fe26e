"""Plans as a table of 80 columns, and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict

from dftfast.planning.chips import Chip
from dftfast.planning.run_plan import RunPlan
from dftfast.planning.text_lengths import TextLengths
from dftfast.rollout.memory import GIB

WIDTH = 80
LEFT_OUT = (
    "Not in it: embeddings, witnesses, evaluation, reading and writing files, "
    "and waiting for the slowest card within an update."
)
Named = Sequence[tuple[str, RunPlan]]  # by the model's name


def table(plans: Named, chip: Chip, texts: TextLengths) -> str:
    """A line for each stage of each plan; what it rests on below."""
    head = f"{'model':<16}{'cards':>6}  {'layers':<8}{'stage':<7}"
    lines = [head + f"{'minutes':>12}{'GiB a card':>13}{'sent GiB':>13}"]
    for name, plan in plans:
        start = f"{_short(name):<16}{plan.cards:>6}  "
        if plan.memory is None:
            lines.append(start + f"does not fit {chip.memory / GIB:.0f} GiB")
            continue
        layers = "sharded" if plan.memory.sharded else "whole"
        for stage in plan.stages():
            lines.append(
                f"{start}{layers:<8}{stage.stage:<7}{stage.seconds / 60:>12,.1f}"
                f"{stage.memory / GIB:>13,.1f}{stage.traffic / GIB:>13,.1f}"
            )
    notes = (
        f"{chip.name}: {chip.origin}.",
        f"Texts: {texts.origin}.",
        "Simulated: a roofline, with the engine's scheduler run without a model. GiB a card: the "
        "most that a card holds. Sent: by all cards together. A run is its sft, its sweep and all "
        "phases.",
        LEFT_OUT,
    )
    return "\n".join([*lines, "", *(line for note in notes for line in textwrap.wrap(note, WIDTH))])


def as_json(plans: Named, chip: Chip, texts: TextLengths) -> dict:
    """Seconds and bytes of every plan, and what they rest on."""
    return {
        "card": asdict(chip),
        "texts": texts.origin,
        "plans": [{"model": name, **plan.as_dict()} for name, plan in plans],
    }


def _short(name: str) -> str:
    return name.rpartition("/")[2][:15]
