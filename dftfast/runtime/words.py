"""What a word, a sentence and a paragraph are: the one definition, for every language.

A word is a run of letters, digits and their signs, with single apostrophes or hyphens inside. In a
script that is written without spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) a
character with its signs counts as a word: words proper would need a dictionary. A sentence ends at
a mark with a space after it, at a mark of a script that writes none (。 ।), or at a line break.
"""

from __future__ import annotations

import regex

_TIGHT = (
    r"[[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Thai}\p{scx=Lao}\p{scx=Khmer}"
    r"\p{scx=Myanmar}]&&[\p{L}\p{N}]]"
)
_FIRST, _LETTER = (rf"[[\p{{L}}{marks}\p{{N}}]--{_TIGHT}]" for marks in ("", r"\p{M}"))
# Invisible characters (\p{Cf}: soft hyphens, joiners, zero-width spaces) do not part a word.
_WORD = rf"{_FIRST}{_LETTER}*(?:(?:\p{{Cf}}+|['\u2019-]){_LETTER}+)*|{_TIGHT}\p{{M}}*"
WORD = regex.compile(rf"(?V1){_WORD}")
WORD_OR_MARK = regex.compile(rf"(?V1){_WORD}|[^\p{{L}}\p{{M}}\p{{N}}\s]")
SENTENCE_END = regex.compile(
    r"""(?V1)(?<=[.!?\u2026])["\u201d'\u2019)\]]*\s+"""
    r"""|(?<=[\p{STerm}--[.!?]])[\p{Pe}\p{Pf}"']*\s*"""
    r"""|\n+"""
)
TIGHT = regex.compile(rf"(?V1){_TIGHT}")  # a character that is a word of its own


def words(text: str) -> list[str]:
    """The words of a text as they stand."""
    return WORD.findall(text)


def lower_words(text: str) -> list[str]:
    """The words in lower case, with straight apostrophes."""
    return [word.lower().replace("\u2019", "'") for word in WORD.findall(text)]


def sentences(text: str) -> list[str]:
    """The sentences that hold a word."""
    return [piece for piece in SENTENCE_END.split(text) if piece and WORD.search(piece)]


def paragraphs(text: str) -> list[str]:
    """The lines that hold a word."""
    return [line for line in text.split("\n") if WORD.search(line)]
