"""Who writes: something that answers briefs piece by piece and writes passages anew."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import NamedTuple, Protocol

from dftfast.data.document import Document
from dftfast.rollout import Sampler

_PER_WORD, _FEWEST = 3, 64  # tokens: a word has about 1.4


class Piece(NamedTuple):
    """The next piece of one of several texts; `finish` says why it is the last, or is None."""

    sample: int
    text: str
    finish: str | None = None


class Gap(NamedTuple):
    """A passage to write anew, and what stands around it word for word.

    Attributes:
        before, old, after: they make up the draft.
        is_paragraph: whether `old` is a paragraph, else it is a sentence.
    """

    before: str
    old: str
    after: str
    is_paragraph: bool


class Writer(Protocol):
    """A model. Closing an iterator stops it.

    Attributes:
        name: of the model.
        state: "ready", "loading", or what is wrong.
        candidates: how many drafts are written for three to be offered.
    """

    name: str
    candidates: int

    @property
    def state(self) -> str: ...

    def write(self, brief: Document, drafts: int) -> AsyncGenerator[Piece, None]:
        """That many texts for a brief, all at once."""
        ...

    def rewrite(self, brief: Document, gap: Gap, count: int) -> AsyncGenerator[str, None]:
        """Passages in place of the old one, best first where the writer can tell."""
        ...

    def close(self) -> None:
        """Stop what is being written."""
        ...


def most_tokens(brief: Document, sampler: Sampler) -> int:
    """The tokens at which a draft is cut off: those of about twice the length that is asked for."""
    asked = max(_PER_WORD * brief.target_words, _FEWEST) if brief.target_words else None
    return min(asked or sampler.max_tokens, sampler.max_tokens)
