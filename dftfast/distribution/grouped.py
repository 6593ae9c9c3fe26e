"""Witnesses within groups of prompts, so that e-mails are held against e-mails and no blogs.

The objective is the mean over prompts of the distances within their groups. Its first variation at
a text is the witness of the text's own group. Where groups are compared together, a group may lack
what another has too much of, and no distance says so.

A group of few prompts or few human texts has no witness to rely on. Its candidates have the one of
all candidates against all human texts, which a policy that is right within every group leaves at 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dftfast.distribution.samples import Samples
from dftfast.distribution.targets import Human
from dftfast.distribution.weighted import Witnesses

LEAST_PROMPTS = 40  # with candidates, of a group that is compared alone
LEAST_TEXTS = 100  # human ones, of such a group


@dataclass(frozen=True)
class Groups:
    """Which prompts and human texts belong together.

    Attributes:
        of_examples: the group of each training prompt; None for a prompt of no group.
        of_validation: the same of the validation prompts.
        texts: the reference of each group that has `LEAST_TEXTS` of it.
    """

    of_examples: Sequence[str | None]
    of_validation: Sequence[str | None]
    texts: Mapping[str, Samples]

    @classmethod
    def of(
        cls,
        human: Samples,
        of_human: Sequence[str | None],
        of_examples: Sequence[str | None],
        of_validation: Sequence[str | None],
    ) -> Groups:
        """Args: of_human: the group of each human text of the reference."""
        places = places_by_group(of_human)
        enough = {name: rows for name, rows in places.items() if len(rows) >= LEAST_TEXTS}
        texts = {name: human.select(rows) for name, rows in enough.items()}
        return cls(of_examples, of_validation, texts)


class _Part(NamedTuple):
    """A critic of some candidates, `rows` int [k], and of how many prompts their credits are."""

    group: str | None  # None is the whole
    rows: np.ndarray
    prompts: int
    critic: Witnesses


class GroupedWitnesses:
    """The witnesses of each group at its candidates (a critic, as `Witnesses` is one).

    Args:
        human: the whole reference.
        prompt: of each candidate.
        completions: the human text of each prompt, as tokens.
        texts: the reference of each group.
        groups: the group of each prompt; None for a prompt of no group.

    Attributes:
        reliability: of each view, the mean over prompts of that in their groups.
        matched: of each group its name, or None of the whole, the number of prompts whose
            candidates it credits, and its reliability.
    """

    def __init__(
        self,
        candidates: Samples,
        human: Human,
        prompt: Sequence[int],
        completions: Sequence[Sequence[int]],
        seed: int,
        texts: Mapping[str, Samples],
        groups: Sequence[str | None],
    ):
        self.prompt = np.asarray(prompt)
        there, alone = set(prompt), []
        for name, places in places_by_group(groups).items():
            members = np.asarray(places)
            rows = np.flatnonzero(np.isin(self.prompt, members))
            count = len(there.intersection(places))
            if name not in texts or count < LEAST_PROMPTS:
                continue
            own = [completions[p] for p in places]
            among = np.searchsorted(members, self.prompt[rows]).tolist()
            critic = Witnesses(candidates.select(rows.tolist()), texts[name], among, own, seed)
            alone.append(_Part(name, rows, count, critic))
        rest = len(there) - sum(part.prompts for part in alone)
        if rest:  # first, so that the groups' own credits replace it
            whole = Witnesses(candidates, human, prompt, completions, seed)
            rows = np.arange(len(self.prompt))
            alone.insert(0, _Part(None, rows, rest, whole))
        self.parts = alone
        self.reliability = self._mean([part.critic.reliability for part in self.parts])
        self.matched = [
            {
                "group": part.group,
                "prompts": part.prompts,
                "reliability": part.critic.reliability,
            }
            for part in self.parts
        ]

    def credits(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """float64 [n] of each view, as those of `Witnesses` in the candidate's group."""
        found: dict[str, np.ndarray] = {}
        for part in self.parts:
            for name, credit in part.critic.credits(weights[part.rows]).items():
                found.setdefault(name, np.zeros(len(weights)))[part.rows] = credit
        return found

    def values(self, weights: np.ndarray) -> dict[str, float]:
        """The squared distance in each view, the mean over prompts of that in their groups."""
        return self._mean([part.critic.values(weights[part.rows]) for part in self.parts])

    def _mean(self, figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
        total = sum(part.prompts for part in self.parts)
        return {
            name: sum(p.prompts / total * each[name] for p, each in zip(self.parts, figures))
            for name in figures[0]
        }


def places_by_group(groups: Sequence[str | None]) -> dict[str, list[int]]:
    """Where each group is, ascending; the groups in the order in which they occur."""
    places: dict[str, list[int]] = {}
    for i, name in enumerate(groups):
        if name is not None:
            places.setdefault(name, []).append(i)
    return places
