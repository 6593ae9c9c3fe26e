"""Words and phrases that a set of outputs overuses, by the number of texts that hold them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dftfast.runtime.words import lower_words, sentences


@dataclass(frozen=True)
class Overused:
    """A phrase and the shares of outputs and of human texts that hold it.

    `ratio` is their quotient, with half a text added to both counts. `p` is the p-value that the
    shares differ only by chance (McNemar's exact test over prompts where the sets share them, else
    Fisher's exact test), adjusted for all phrases examined (Benjamini and Hochberg 1995).
    """

    phrase: str
    outputs: float
    human: float
    ratio: float
    p: float


def phrases_of(text: str, orders: Sequence[int] = (1, 2, 3, 4)) -> set[str]:
    """Distinct word n-grams, in lower case, that do not cross sentences."""
    phrases: set[str] = set()
    for sentence in sentences(text):
        w = lower_words(sentence)
        for n in orders:
            phrases.update(" ".join(w[i : i + n]) for i in range(len(w) - n + 1))
    return phrases


def compared_phrases(
    outputs: Sequence[set[str]], human: Sequence[set[str]], paired: bool, least_share: float = 0.02
) -> list[Overused]:
    """Phrases in at least `least_share` of one of the sets, overused ones and underused ones.

    The significant ones come first, then the others, each by how far the ratio is from 1.

    Which phrases are examined is chosen by how many texts of both sets together hold them, so that
    the choice says nothing of the difference.

    Args:
        outputs, human: the sets of `phrases_of`.
        paired: the i-th of both answer one prompt.
        least_share: of the texts that hold a phrase.
    """
    from scipy import stats

    count = Counter(p for text in outputs for p in text)
    human_count = Counter(p for text in human for p in text)
    n, m = len(outputs), len(human)
    least = max(least_share * min(n, m), 2)
    phrases = [p for p in count | human_count if count[p] + human_count[p] >= least]
    if not phrases:
        return []
    c = np.array([count[p] for p in phrases])
    h = np.array([human_count[p] for p in phrases])
    if paired:
        both = Counter(p for x, y in zip(outputs, human) for p in x & y)
        b = np.array([both[p] for p in phrases])
        chance = stats.binom(c + h - 2 * b, 0.5)
        more, less = chance.sf(c - b - 1), chance.cdf(c - b)
    else:
        chance = stats.hypergeom(n + m, c + h, n)
        more, less = chance.sf(c - 1), chance.cdf(c)
    adjusted = stats.false_discovery_control(np.minimum(2 * np.minimum(more, less), 1))
    ratio = ((c + 0.5) / n) / ((h + 0.5) / m)
    rows = [
        Overused(p, float(x / n), float(y / m), float(r), float(q))
        for p, x, y, r, q in zip(phrases, c, h, ratio, adjusted)
        if max(x / n, y / m) >= least_share and max(x, y) >= 2
    ]
    return sorted(rows, key=lambda o: (o.p > 0.05, -abs(np.log(o.ratio)), o.phrase))


def overused(
    outputs: Sequence[set[str]], human: Sequence[set[str]], paired: bool
) -> list[Overused]:
    """Those of `compared_phrases` that the outputs hold more often."""
    return [o for o in compared_phrases(outputs, human, paired) if o.outputs > o.human]


def without_parts(rows: Sequence[Overused]) -> list[Overused]:
    """Join phrases that continue one another in the same outputs, then drop parts of longer ones.

    A part is dropped when nearly as many outputs hold the longer phrase: "as a" beside "as a
    result".
    """
    rows = _joined(list(rows))
    kept = []
    for row in rows:
        longer = (o for o in rows if o is not row and f" {row.phrase} " in f" {o.phrase} ")
        if not any(o.outputs >= 0.8 * row.outputs for o in longer):
            kept.append(row)
    return kept


def _joined(rows: list[Overused], order: int = 4) -> list[Overused]:
    """Join phrases of `order` words that overlap in all but one word, in equally many texts."""
    pieces = [row for row in rows if len(row.phrase.split()) == order]
    follows = lambda b, a: (
        a is not b
        and (a.outputs, a.human) == (b.outputs, b.human)
        and a.phrase.split()[1:] == b.phrase.split()[:-1]
    )
    heads = [row for row in pieces if not any(follows(row, a) for a in pieces)]
    joined: dict[str, str] = {}
    for head in heads:
        chain = [head]
        while (
            after := next((b for b in pieces if b not in chain and follows(b, chain[-1])), None)
        ) is not None:
            chain.append(after)
        joined[head.phrase] = " ".join(
            [head.phrase, *(row.phrase.split()[-1] for row in chain[1:])]
        )
    return [replace(row, phrase=joined.get(row.phrase, row.phrase)) for row in rows]


def human_against_human(human: Sequence[set[str]], seed: int = 0) -> list[Overused]:
    """The same table for one random half of the human texts against the other.

    It shows what noise alone looks like.
    """
    order = np.random.default_rng(seed).permutation(len(human))
    half = len(human) // 2
    return overused(
        [human[i] for i in order[:half]], [human[i] for i in order[half:]], paired=False
    )
