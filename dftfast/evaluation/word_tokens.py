"""Words and punctuation marks as tokens, for texts that no model's tokenizer is named for."""

from __future__ import annotations

from dftfast.runtime.words import WORD_OR_MARK


class WordTokens:
    """Gives every word and mark (case counts) a number when it first comes, from 0 on."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def encode(self, text: str) -> list[int]:
        """The numbers of a text's tokens."""
        return [self._ids.setdefault(word, len(self._ids)) for word in WORD_OR_MARK.findall(text)]

    def names(self) -> list[str]:
        """The words and marks, by number."""
        return list(self._ids)
