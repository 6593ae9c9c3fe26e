"""Every system against the human texts by one judge: which pairs are shown in which order, and who wins."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dftfast.evaluation.judge.questions import Item
from dftfast.evaluation.textset import TextSet


@dataclass
class Judged:
    """What one judge says.

    Attributes:
        judge: who was asked.
        wins: system -> question -> float64 [n], in the order of the human texts: 1 where the output is preferred, 0 where
            the human text is, 0.5 for a tie, NaN where there is no verdict.
        both_orders: every pair was shown in both orders; a verdict is then that of the two together.
        first: share of single answers that chose the text shown first; 0.5 is no position bias. None without an answer.
        agreement: share of pairs, of those shown in both orders, with the same winner in both. None without one.
    """

    judge: object
    both_orders: bool
    wins: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    first: float | None = None
    agreement: float | None = None


def judge_systems(
    judge,
    systems: Mapping[str, TextSet],
    human: TextSet,
    questions: Sequence[str],
    *,
    both_orders: bool = False,
    seed: int = 0,
    progress: Callable[[int], None] = lambda n: None,
) -> Judged:
    """Ask a judge (`RemoteJudge`, `LocalJudge`) about every output and the human text of its prompt.

    `systems` are aligned with `human`. In single order the output comes first for about half of the prompts, by a hash of the
    seed and the prompt's id: the same ones for every system and judge. An empty output loses, and equal texts are a tie,
    without being asked about. Pairs come in an order by hash too, so that what a cap on spend leaves is a random sample.
    """
    both_orders = both_orders or judge.both_orders
    found = Judged(
        judge,
        both_orders,
        {name: {q: np.full(len(human), np.nan) for q in questions} for name in systems},
    )
    items, places = [], []
    for i in sorted(range(len(human)), key=lambda i: _share(seed, "turn", human.ids[i])):
        swapped = _share(seed, "order", human.ids[i]) < 0.5
        for name, outputs in systems.items():
            ours, theirs = outputs.texts[i], human.texts[i]
            if not ours.strip() or ours.strip() == theirs.strip():
                for q in questions:
                    found.wins[name][q][i] = 0.5 if ours.strip() else 0.0
                continue
            prompt = outputs.prompts[i] or human.prompts[i]
            for q in questions:
                for second in (False, True) if both_orders else (swapped,):
                    items.append(Item(q, prompt, *((theirs, ours) if second else (ours, theirs))))
                    places.append((name, q, i, second))
    _decide(found, places, judge.preferences(items, progress))
    return found


def _decide(found: Judged, places: list[tuple], preferences: np.ndarray) -> None:
    """Fill in wins, position bias and agreement; a preference is positive for the text shown first."""
    orders: dict[tuple, list[float]] = {}
    for (name, q, i, second), preference in zip(places, preferences):
        orders.setdefault((name, q, i), []).append(-preference if second else preference)
    for (name, q, i), for_output in orders.items():
        found.wins[name][q][i] = (
            np.sign(sum(for_output)) + 1
        ) / 2  # NaN where an order has no answer
    answered = np.sign(preferences[np.isfinite(preferences)])
    found.first = float((answered + 1).mean() / 2) if len(answered) else None
    both = [np.sign(pair) for pair in orders.values() if len(pair) == 2 and np.isfinite(pair).all()]
    found.agreement = float(np.mean([a == b for a, b in both])) if both else None


def _share(seed: int, what: str, identifier: str) -> float:
    """A number in [0, 1) that depends on nothing else."""
    text = f"{seed}/{what}/{identifier}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:6], "big") / 2**48
