"""Quotation marks, dashes and spaces: how a text is set, whatever its words say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import regex

_TYPOGRAPHIC = regex.compile(
    r"[\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u00ab\u00bb\u2013\u2014]"
)
_TYPED = regex.compile(r"['\"]|--+|(?<=\s)-(?=\s)")
# Characters that show nothing, and spaces other than the space bar's.
_UNUSUAL = regex.compile(r"(?V1)[\p{Cf}\p{Co}\p{Cn}\p{Zs}\p{Zl}\p{Zp}\p{Cc}--[ \n\t\r]]")
_KINDS = tuple(
    regex.compile(kind)
    for kind in (
        *("'", '"', r"[\u2018\u2019]", r"[\u201c\u201d]", r"[\u00ab\u00bb\u201a\u201e]"),
        *(
            r"(?<=\s)-(?=\s)",
            "--+",
            "\u2013",
            "(?<=\\s)\u2014(?=\\s)",
            "(?<!\\s)\u2014|\u2014(?!\\s)",
        ),
        *("\u2026", r"\.\.\.", "[\u00a0\u202f]", r"[\u200b-\u200f\u2060\ufeff\u00ad]", "  +", "\t"),
    )
)
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2013\u2014", "-"),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", ""),
        "\u2026": "...",
    }
)
_SPACES = regex.compile(r"\p{Zs}")


def typographic_share(text: str) -> float:
    """Share of its quotation marks and dashes that are not a keyboard's; NaN without any."""
    fine, typed = len(_TYPOGRAPHIC.findall(text)), len(_TYPED.findall(text))
    return fine / (fine + typed) if fine + typed else float("nan")


def has_unusual(text: str) -> bool:
    """Whether it has an invisible character or an unusual space."""
    return _UNUSUAL.search(text) is not None


def glyph_matrix(texts: Sequence[str]) -> np.ndarray:
    """How often each kind of mark and space is in 100 characters, log(1 + rate). float32 [n, 16]"""
    counts = [[len(kind.findall(text)) for kind in _KINDS] for text in texts]
    lengths = np.array([[max(len(text), 1)] for text in texts])
    return np.log1p(100 * np.array(counts) / lengths).astype(np.float32)


def plain_glyphs(text: str) -> str:
    """The text with the marks and spaces of a keyboard."""
    return _SPACES.sub(" ", text.translate(_PLAIN))
