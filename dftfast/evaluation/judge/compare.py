"""Every system against the human texts by one judge: the order of pairs, and who wins."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from dftfast.endpoint.calls import Tally
from dftfast.evaluation.judge.length_control import log_ratios
from dftfast.evaluation.judge.questions import Item
from dftfast.evaluation.textset import TextSet

OTHER_PROMPT = "human texts of other prompts"  # a system to see what verdicts are worth


class Judge(Protocol):
    """Whom `judge_systems` asks: `RemoteJudge` or `LocalJudge`.

    Attributes:
        name: what the user calls it.
        model: the model's name at its place.
        where: the host, or this machine.
        both_orders: it needs every pair in both orders.
        malformed: answers that were neither A nor B.
        unanswered: questions without a verdict in the end.
        tally: what it took; None for a model on this machine.
    """

    name: str
    model: str
    where: str
    unanswered: int

    @property
    def both_orders(self) -> bool: ...

    @property
    def malformed(self) -> int: ...

    @property
    def tally(self) -> Tally | None: ...

    def preferences(
        self, items: Sequence[Item], progress: Callable[[int], object] = lambda n: None
    ) -> np.ndarray:
        """Above 0 for the first text, below for the second, NaN without a verdict; float64 [n]."""
        ...


@dataclass
class Judged:
    """What one judge says.

    Attributes:
        judge: who was asked.
        wins: system -> question -> float64 [n], in the order of the human texts: 1 where the output
            is preferred, 0 where the human text is, 0.5 for a tie, NaN where there is no verdict.
        ratios: system -> log of the words of each output by those of the human text, [n].
        both_orders: every pair was shown in both orders; a verdict is then that of the two
            together.
        first: share of single answers that chose the text shown first; 0.5 is no position bias.
            None without an answer.
        agreement: share of pairs, of those shown in both orders, with the same winner in both. None
            without one.
    """

    judge: Judge
    both_orders: bool
    wins: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    ratios: dict[str, np.ndarray] = field(default_factory=dict)
    first: float | None = None
    agreement: float | None = None


def judge_systems(
    judge: Judge,
    systems: Mapping[str, TextSet],
    human: TextSet,
    questions: Sequence[str],
    *,
    both_orders: bool = False,
    seed: int = 0,
    progress: Callable[[int], object] = lambda n: None,
) -> Judged:
    """Ask a judge about every output and the human text of its prompt.

    `systems` are aligned with `human`. In single order the output comes first for about half of the
    prompts, by a hash of the seed and the prompt's id: the same ones for every system and judge. An
    empty output loses, and equal texts are a tie, without being asked about. Pairs come in an order
    by hash too, so that what a cap on spend leaves is a random sample.
    """
    both_orders = both_orders or judge.both_orders
    judged = Judged(
        judge,
        both_orders,
        {name: {q: np.full(len(human), np.nan) for q in questions} for name in systems},
        {name: log_ratios(outputs.texts, human.texts) for name, outputs in systems.items()},
    )
    items, places = [], []
    for i in sorted(range(len(human)), key=lambda i: _share(seed, "turn", human.ids[i])):
        swapped = _share(seed, "order", human.ids[i]) < 0.5
        for name, outputs in systems.items():
            ours, theirs = outputs.texts[i], human.texts[i]
            if not ours.strip() or ours.strip() == theirs.strip():
                for q in questions:
                    judged.wins[name][q][i] = 0.5 if ours.strip() else 0.0
                continue
            prompt = outputs.prompts[i] or human.prompts[i]
            for q in questions:
                for second in (False, True) if both_orders else (swapped,):
                    items.append(Item(q, prompt, *((theirs, ours) if second else (ours, theirs))))
                    places.append((name, q, i, second))
    _decide(judged, places, judge.preferences(items, progress))
    return judged


def _decide(judged: Judged, places: list[tuple], preferences: np.ndarray) -> None:
    """Fill in wins, position bias and agreement.

    A preference is positive for the text shown first.
    """
    orders: dict[tuple, list[float]] = {}
    for (name, q, i, second), preference in zip(places, preferences):
        orders.setdefault((name, q, i), []).append(-preference if second else preference)
    for (name, q, i), for_output in orders.items():
        # NaN where an order has no answer
        judged.wins[name][q][i] = (np.sign(sum(for_output)) + 1) / 2
    answered = np.sign(preferences[np.isfinite(preferences)])
    judged.first = float((answered + 1).mean() / 2) if len(answered) else None
    both = [np.sign(pair) for pair in orders.values() if len(pair) == 2 and np.isfinite(pair).all()]
    judged.agreement = float(np.mean([a == b for a, b in both])) if both else None


def _share(seed: int, purpose: str, identifier: str) -> float:
    """A number in [0, 1) that depends on nothing else."""
    text = f"{seed}/{purpose}/{identifier}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:6], "big") / 2**48
