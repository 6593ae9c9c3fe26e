"""A set of texts to evaluate, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dftfast.data.document import Document
from dftfast.runtime.errors import UserError

VECTORS = ("embeddings", "unseen_embeddings")
COLUMNS = ("ids", "prompts", "token_ids", *VECTORS, "finish_reason", "briefs")


@dataclass
class TextSet:
    """Texts with whatever the metrics need of them; one text a prompt.

    Several answers to each prompt are several sets, the draws of a system.

    Attributes:
        ids: unique keys of the prompts. Sets with the same ids in the same order are compared
            prompt by prompt.
        prompts, texts: strings.
        token_ids: tokens of each text in one tokenizer's vocabulary (the same for all sets
            compared), or None.
        embeddings: float32 [n, d], numpy or torch, or None.
        unseen_embeddings: float32 [n, e] in a space that no training signal used, or None.
        briefs: what each prompt asks for, for `adherence`; of the reference alone.
        finish_reason: why each generation ended ("stop", "length", ...), or None where unknown.

    Raises:
        UserError: lengths disagree, an id occurs twice, or an embedding is not finite.
    """

    ids: Sequence[str]
    prompts: Sequence[str]
    texts: Sequence[str]
    token_ids: Sequence[Sequence[int]] | None = None
    embeddings: np.ndarray | None = None
    unseen_embeddings: np.ndarray | None = None
    finish_reason: Sequence[str | None] | None = None
    name: str = ""
    briefs: Sequence[Document] | None = None

    def __post_init__(self):
        where = f"{self.name}: " if self.name else ""
        n = len(self.texts)
        for field in VECTORS:
            if getattr(self, field) is not None:
                values = np.asarray(getattr(self, field), dtype=np.float32)
                if values.ndim != 2:
                    raise UserError(
                        f"{where}{field} must be [texts, dimensions], not of shape "
                        f"{list(values.shape)}"
                    )
                bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
                if len(bad):
                    raise UserError(
                        f"{where}{field} of text {bad[0]} (id {self.ids[bad[0]]}) are not finite "
                        f"({len(bad)} such texts); embed it again"
                    )
                setattr(self, field, values)
        for field in COLUMNS:
            if getattr(self, field) is not None and len(getattr(self, field)) != n:
                raise UserError(f"{where}{len(getattr(self, field))} {field} for {n} texts")
        seen = set()
        for i in self.ids:
            if i in seen:
                raise UserError(f"{where}id {i!r} occurs twice; a set holds one text a prompt")
            seen.add(i)

    def __len__(self) -> int:
        return len(self.texts)

    def select(self, index: Sequence[int]) -> TextSet:
        """The texts at these positions, in this order."""
        place = np.asarray(index, dtype=np.int64)
        take = lambda values: [values[i] for i in index]
        pick = lambda values: None if values is None else take(values)
        rows = lambda values: None if values is None else values[place]
        return TextSet(
            take(self.ids),
            take(self.prompts),
            take(self.texts),
            pick(self.token_ids),
            rows(self.embeddings),
            rows(self.unseen_embeddings),
            pick(self.finish_reason),
            self.name,
            pick(self.briefs),
        )


def align(outputs: TextSet, reference: TextSet) -> TextSet:
    """The outputs in the order of the reference's ids.

    Raises:
        UserError: the two sets do not have the same ids.
    """
    if list(outputs.ids) == list(reference.ids):
        return outputs
    place = {i: k for k, i in enumerate(outputs.ids)}
    known = set(reference.ids)
    name, against = outputs.name or "outputs", reference.name or "the reference"
    foreign = [i for i in outputs.ids if i not in known]
    missing = [i for i in reference.ids if i not in place]
    if foreign or missing:
        parts = [
            f"{len(ids)} {problem}, the first is {ids[0]!r}"
            for ids, problem in (
                (missing, "ids are missing"),
                (foreign, f"ids are not in {against}"),
            )
            if ids
        ]
        raise UserError(
            f"{name}: must answer the same prompts as {against}, but {'; '.join(parts)}"
        )
    return outputs.select([place[i] for i in reference.ids])
