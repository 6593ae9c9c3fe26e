"""Corpora mixed by weight."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from dftfast.data.document import Document
from dftfast.data.load import load_corpus
from dftfast.data.split import hash_share
from dftfast.runtime.errors import UserError
from dftfast.runtime.mixing import counts_by_weight

log = logging.getLogger(__name__)


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
    places = []
    for path, corpus, count in zip(paths, corpora, counts):
        chosen = sorted(corpus, key=lambda document: hash_share(document.id, "blend"))[:count]
        places += [((k + 0.5) / count, document) for k, document in enumerate(chosen)]
        log.info("%s: %d of %d texts are in the blend", path, count, len(corpus))
    return [document for _, document in sorted(places, key=lambda place: place[0])]
