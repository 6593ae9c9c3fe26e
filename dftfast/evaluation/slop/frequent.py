"""The most frequent word n-grams, by number of occurrences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dftfast.runtime.words import lower_words, sentences


@dataclass(frozen=True)
class Frequent:
    """An n-gram of words and how often it occurs in all outputs and in all human texts."""

    phrase: str
    outputs: int
    human: int


def ngram_counts(texts: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """Occurrences of every word n-gram, in lower case, within sentences."""
    counts: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        for sentence in sentences(text):
            w = lower_words(sentence)
            counts.update(zip(*(w[i:] for i in range(n))))
    return counts


def most_frequent(
    outputs: Sequence[str], human: Sequence[str], n: int, count: int = 15
) -> list[Frequent]:
    """The n-grams with most occurrences in the outputs; only those that occur at least twice."""
    of_human = ngram_counts(human, n)
    return [
        Frequent(" ".join(gram), times, of_human[gram])
        for gram, times in ngram_counts(outputs, n).most_common(count)
        if times > 1
    ]
