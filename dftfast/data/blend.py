"""Corpora mixed by weight."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from dftfast.data.document import Document
from dftfast.data.load import load_corpus
from dftfast.data.split import hash_share
from dftfast.runtime.errors import UserError
from dftfast.runtime.mixing import LITTLE, common_lengths, counts_by_weight
from dftfast.runtime.words import words

log = logging.getLogger(__name__)
_TWENTIETHS = np.linspace(0, 1, 21)


def load_blend(
    paths: Sequence[str | Path], weights: Sequence[float], limit: int | None = None, **options
) -> list[Document]:
    """The texts of several corpora, as many of each as the weights allow.

    They are in turn, so that any first part of them has the weights, too. Nothing that follows
    needs weights then: prompts, splits, references and tests are of the mixture.

    Args:
        weights: of each path.
        limit: texts in all, at most.
        options: of `load_corpus`.

    Raises:
        UserError: not one weight for each corpus, two corpora with the same text, or what
            `load_corpus` raises.
    """
    if len(weights) != len(paths):
        raise UserError(f"data.blend: {len(weights)} weights for {len(paths)} files of data.train")
    corpora = [load_corpus([path], **options) for path in paths]
    first: dict[str, str | Path] = {}
    for path, corpus in zip(paths, corpora):
        for document in corpus:
            if document.id in first:
                raise UserError(
                    f"data.blend: {path}: the id {document.id!r} is in {first[document.id]}, too"
                )
        first |= dict.fromkeys((document.id for document in corpus), path)
    counts = counts_by_weight([len(corpus) for corpus in corpora], weights)
    if limit is not None and limit < sum(counts):
        counts = [max(1, count * limit // sum(counts)) for count in counts]
    for warning in little_in_common(dict(zip(map(str, paths), corpora))):
        log.warning("data.blend: %s", warning)
    places = []
    for path, corpus, count in zip(paths, corpora, counts):
        chosen = sorted(corpus, key=lambda document: hash_share(document.id, "blend"))[:count]
        places += [((k + 0.5) / count, document) for k, document in enumerate(chosen)]
        log.info("%s: %d of %d texts are in the blend", path, count, len(corpus))
    return [document for _, document in sorted(places, key=lambda place: place[0])]


def little_in_common(corpora: Mapping[str, Sequence[Document]]) -> list[str]:
    """A sentence for each two corpora that differ so much that a blend of them is no style."""
    written = {name: [words(d.text) for d in corpus] for name, corpus in corpora.items()}
    found = []
    for (one, a), (other, b) in combinations(written.items(), 2):
        shared = common_words(a, b)
        if shared < LITTLE:
            found.append(
                f"{one} and {other} have {shared:.0%} of their words in common: a blend of two "
                "languages or subjects is no way of writing"
            )
        sizes = [np.quantile(list(map(len, texts)), _TWENTIETHS).tolist() for texts in (a, b)]
        shared = common_lengths(*sizes)
        if shared < LITTLE:
            ends = " and ".join(f"{q[1]:.0f} to {q[-2]:.0f}" for q in sizes)
            found.append(
                f"{one} and {other} have {shared:.0%} of their lengths in common ({ends} words, "
                "90% of each): prompts ask for a length, so most texts will be of one or the other"
            )
    return found


def common_words(a: Sequence[Sequence[str]], b: Sequence[Sequence[str]]) -> float:
    """Σ min(f, g) over the frequencies of words in two sets of texts."""
    f, g = (Counter(word.lower() for text in texts for word in text) for texts in (a, b))
    of_f, of_g = max(f.total(), 1), max(g.total(), 1)
    return sum(min(f[word] / of_f, g[word] / of_g) for word in f.keys() & g.keys())
