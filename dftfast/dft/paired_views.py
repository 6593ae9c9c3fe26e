"""The views of validation: those that training follows, and others that it never sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dftfast.distribution.grouped import places_by_group
from dftfast.distribution.mmd import MMD, LexicalMMD, StyleMMD
from dftfast.distribution.paired import PairedDistance, paired_mmd2, paired_ngram_l2
from dftfast.distribution.samples import Samples

NGRAMS = (1, 2, 3)
LEAST_ANSWERS = 20  # to prompts of a group, for its distances


class PairedViews:
    """Distances of answers from the human texts of the same prompts, in every view.

    Args:
        human: the human text of each prompt.
        unseen: the same as each embedder that no phase follows sees them, by name.
    """

    def __init__(self, human: Samples, unseen: Mapping[str, Samples]):
        self.human, self.unseen_human = human, unseen
        self.views = {"mmd": MMD(), "lexical": LexicalMMD(), "style": StyleMMD()}
        for view in self.views.values():
            view.fit(human)
        self.unseen = {name: MMD() for name in unseen}
        for name, view in self.unseen.items():
            view.fit(unseen[name])

    def select(self, prompts: Sequence[int]) -> PairedViews:
        """The views fitted on the human texts of some prompts alone."""
        unseen = {name: texts.select(prompts) for name, texts in self.unseen_human.items()}
        return PairedViews(self.human.select(prompts), unseen)

    def distances(
        self, texts: Samples, unseen: Mapping[str, Samples], prompt: Sequence[int]
    ) -> dict[str, PairedDistance]:
        """Of the answers from the human texts of their prompts."""
        human = self.human.select(prompt)
        others = {name: texts.select(prompt) for name, texts in self.unseen_human.items()}
        return {
            **{name: paired_mmd2(view, texts, human) for name, view in self.views.items()},
            **{n: paired_mmd2(view, unseen[n], others[n]) for n, view in self.unseen.items()},
            **{f"{n}-grams": paired_ngram_l2(n, texts, human) for n in NGRAMS},
        }


class GroupViews:
    """The same distances within groups of prompts.

    Args:
        groups: the group of each prompt; None for a prompt of no group.
    """

    def __init__(self, views: PairedViews, groups: Sequence[str | None]):
        self.groups = {
            name: (np.asarray(places), views.select(places))
            for name, places in places_by_group(groups).items()
            if len(places) >= LEAST_ANSWERS
        }

    def figures(
        self, texts: Samples, unseen: Mapping[str, Samples], prompt: Sequence[int]
    ) -> dict[str, dict]:
        """Of each group with enough answers: `prompts`, their number, `validation` and `z`."""
        found = {}
        for name, (places, views) in self.groups.items():
            rows = np.flatnonzero(np.isin(prompt, places)).tolist()
            if len(rows) < LEAST_ANSWERS:
                continue
            among = np.searchsorted(places, np.asarray(prompt)[rows]).tolist()
            others = {each: answers.select(rows) for each, answers in unseen.items()}
            distances = views.distances(texts.select(rows), others, among)
            found[name] = {
                "prompts": len(rows),
                "validation": {view: distance.value for view, distance in distances.items()},
                "z": {view: distance.z for view, distance in distances.items()},
            }
        return found
