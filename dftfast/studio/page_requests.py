"""What the page sends, and how large each of it may be."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from dftfast.data.document import EM_DASH, Document

_Line = Annotated[str, StringConstraints(max_length=2000)]
_Text = Annotated[str, StringConstraints(max_length=2_000_000)]
_Place = Annotated[int, Field(ge=0, le=4_000_000)]  # offset in units of UTF-16, as a page counts


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Brief(_Sent):
    """What a text is to be."""

    prompt: Annotated[str, StringConstraints(max_length=8000)] = ""
    outline: Annotated[list[_Line], Field(max_length=100)] = []
    use_case: _Line = ""
    style: _Line = ""
    words: Annotated[int, Field(ge=1, le=20_000)] | None = None
    em_dashes: bool = False

    def document(self, text: str = "") -> Document:
        """The row of a corpus that this brief and a text make; without a text, what to write."""
        return Document(
            id="draft",
            text=text,
            prompt=self.prompt.strip(),
            use_case=self.use_case.strip() or None,
            style=self.style.strip() or None,
            outline=tuple(point.strip() for point in self.outline if point.strip()),
            target_words=self.words,
            em_dashes_allowed=self.em_dashes or EM_DASH in text,
        )


class Content(_Sent):
    """What the page holds of a draft.

    Attributes:
        written: what models wrote for it, one after another.
        edited, read: whether the last draft of a model was changed by hand, or read to its end.
    """

    brief: Brief = Brief()
    text: _Text = ""
    written: _Text = ""
    edited: bool = False
    read: bool = False


class Saved(Content):
    """A draft to save, and the revision that the page began from."""

    revision: Annotated[int, Field(ge=0, le=2**53)] = 0


class Version(_Sent):
    text: _Text


class Checked(_Sent):
    brief: Brief = Brief()
    text: _Text = ""


class Asked(_Sent):
    """A draft of a brief, or several."""

    brief: Brief


class Rewritten(_Sent):
    """The sentence or paragraph to write anew: what `start` to `end` of the text touches."""

    brief: Brief
    text: _Text
    start: _Place
    end: _Place
    whole_paragraph: bool = False
