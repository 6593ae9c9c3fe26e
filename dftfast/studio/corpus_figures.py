"""Where a text lies among the texts of a corpus: its length, rhythm and choice of words."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from dftfast.writing.passage import Passage
from dftfast.writing.rules.rhythm import rhythm_of

MOST = 2000  # texts of the corpus that are measured
_TAIL = 0.05
NAMES = {
    "words": "Words",
    "sentence_words": "Words in a sentence, on average",
    "sentence_spread": "Spread of sentence lengths",
    "paragraph_words": "Words in a paragraph, on average",
    "variety": "Different words, for the length",
}


class CorpusFigures:
    """The figures of a corpus's texts, sorted."""

    def __init__(self, texts: Sequence[str]):
        measured = [figures_of(Passage(text)) for text in texts[:MOST]]
        self._sorted = {
            name: sorted(each[name] for each in measured if name in each) for name in NAMES
        }

    @property
    def usual_words(self) -> float | None:
        """The median length of a text."""
        lengths = self._sorted["words"]
        return lengths[len(lengths) // 2] if lengths else None

    def place(self, passage: Passage) -> list[dict]:
        """For each figure: its value, the share of texts below it, and what most texts have.

        `low` and `high` are the 5th and 95th percentile, `at`, `from` and `to` places on a strip
        that reaches from the 1st to the 99th, in percent.
        """
        found = []
        for name, value in figures_of(passage).items():
            known = self._sorted[name]
            if not known:
                continue
            share = (bisect_left(known, value) + bisect_right(known, value)) / 2 / len(known)
            quantile = lambda q, known=known: known[round(q * (len(known) - 1))]
            low, high = quantile(_TAIL), quantile(1 - _TAIL)
            first, last = quantile(0.01), quantile(0.99)
            on_strip = lambda x: 100 * min(max((x - first) / ((last - first) or 1), 0), 1)
            row = {"name": NAMES[name], "value": round(value, 1), "share": round(share, 3)}
            row |= {"low": round(low, 1), "high": round(high, 1)}
            found.append(row | {"at": on_strip(value), "from": on_strip(low), "to": on_strip(high)})
        return found


def figures_of(passage: Passage) -> dict[str, float]:
    """By the keys of `NAMES`; those of rhythm only where there are enough sentences."""
    words = passage.words
    if not words:
        return {}
    types = len({word.lower for word in words})
    # Guiraud's: it depends little on length
    return {
        "words": float(len(words)),
        **rhythm_of(passage),
        "variety": types / math.sqrt(len(words)),
    }
