"""Outputs that are nearly the same as another output of their set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dftfast.evaluation import ngrams
from dftfast.runtime.words import lower_words

SHINGLE = 3  # words
ALIKE = 0.5  # Jaccard similarity from which two texts are near-duplicates


def shingle_similarity(texts: Sequence[str]) -> np.ndarray:
    """Jaccard similarity of the sets of word 3-grams of each two texts, float64 [n, n]; exact.

    The beginning and the end of a text count as words, so that short texts have 3-grams too (Broder
    1997, "On the resemblance of documents").
    """
    vocabulary: dict[str, int] = {}
    documents = [
        [0, 0, *(vocabulary.setdefault(w, len(vocabulary) + 2) for w in lower_words(t)), 1]
        for t in texts
    ]
    keys, document = ngrams.ngram_keys(documents, SHINGLE, len(vocabulary) + 2)
    counts, _ = ngrams.count_matrix(keys, document, len(documents))
    counts.data[:] = 1
    both = ngrams.gram(counts)
    size = np.diag(both)
    return both / (size[:, None] + size[None, :] - both)


def near_duplicates(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Whether another text of the set has a similarity of at least 0.5, and the influences.

    Two float64 [n]. A text moves the share by itself, and by each text of which it is the only
    near-duplicate: the influences are those of the jackknife, with the share as their mean.
    """
    alike = shingle_similarity(texts) >= ALIKE
    np.fill_diagonal(alike, False)
    has: np.ndarray = np.asarray(alike.any(1), np.float64)
    alone = alike.sum(1) == 1
    influences = has + alike[:, alone].sum(1)
    return has, np.asarray(influences - influences.mean() + has.mean())


def closest_pairs(texts: Sequence[str], count: int = 10) -> list[tuple[int, int, float]]:
    """(i, j, similarity) of the near-duplicates, most alike first; no text in two pairs."""
    similarity = np.triu(shingle_similarity(texts), 1)
    first, second = np.nonzero(similarity >= ALIKE)
    order = np.argsort(-similarity[first, second], kind="stable")
    used, pairs = set(), []
    for i, j in zip(first[order].tolist(), second[order].tolist()):
        if len(pairs) < count and used.isdisjoint((i, j)):
            used |= {i, j}
            pairs.append((i, j, float(similarity[i, j])))
    return pairs
