"""Lengths of sentences and paragraphs beside those of the corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean, pstdev

import numpy as np

from dftfast.data.document import Document
from dftfast.writing.passage import Passage
from dftfast.writing.rule import Example, Finding, Human, Rule, may_fail

LEAST = 4  # sentences: fewer have no rhythm
Range = tuple[float, float]
_MEANS = {
    "sentence_words": "words in a sentence, on average",
    "sentence_spread": "standard deviation of the words in a sentence",
    "paragraph_words": "words in a paragraph, on average",
}


class Rhythm(Rule):
    name = "rhythm"
    about = (
        "Mean length of sentences, its spread, or mean length of paragraphs is outside nearly all "
        "of the corpus's. Fitted: says nothing before."
    )
    found = (
        Example("One two three. " * 5, settings={"sentence_spread": (2.0, 9.0)}),
        Example("Go. Stop. Wait here. Go on.", settings={"sentence_words": (5.0, 30.0)}),
    )
    passed = (
        Example("One two three. " * 5),
        Example(
            "Go. Stop now, will you? Wait here for me. Go.", settings={"sentence_words": (1, 9)}
        ),
    )
    sentence_words: Range | None = None
    sentence_spread: Range | None = None
    paragraph_words: Range | None = None

    def find(self, passage: Passage, brief: Document | None) -> Iterator[Finding]:
        for name, value in rhythm_of(passage).items():
            limits = getattr(self, name)
            if limits is not None and not limits[0] <= value <= limits[1]:
                message = f"{_MEANS[name]}: {value:.1f}, of human texts {limits[0]:.1f} to "
                yield self.finding(0, len(passage.text.rstrip()), f"{message}{limits[1]:.1f}")

    def fit(self, texts: Sequence[Human], held: Sequence[Human], share: float) -> None:
        """Ranges whose tails are as thin as it takes that `share` of `held` fails any."""
        rows = [list(rhythm_of(h.passage).values()) for h in (*texts, *held)]
        learnt, checked = (
            np.array([row for row in part if row]).reshape(-1, len(_MEANS))
            for part in (rows[: len(texts)], rows[len(texts) :])
        )
        if not len(learnt) or not len(checked):
            return
        for tail in share / 2 * np.linspace(1, 0, 41):
            low, high = np.quantile(learnt, [tail, 1 - tail], axis=0)
            if ((checked < low) | (checked > high)).any(1).sum() <= may_fail(len(held), share):
                break
        for name, *limits in zip(_MEANS, low.round(2).tolist(), high.round(2).tolist()):
            setattr(self, name, (limits[0] - 0.01, limits[1] + 0.01))


def rhythm_of(passage: Passage) -> dict[str, float]:
    """By the names of the settings; none for a text of few sentences."""
    lengths = [len(sentence.words) for sentence in passage.sentences]
    if len(lengths) < LEAST:
        return {}
    paragraphs = fmean(passage.paragraph_lengths)
    return dict(zip(_MEANS, (fmean(lengths), pstdev(lengths), paragraphs)))
