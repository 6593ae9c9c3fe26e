"""Texts and prompts against the model's context, before anything is trained."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dftfast.data import Document, prompt_messages
from dftfast.model.tokenizer import Tokenizer

log = logging.getLogger(__name__)
_NAMED = 5  # documents that a complaint names


class ContextRoom:
    """What the model's context leaves for prompts and texts.

    Only where a text could be too long is its prompt turned into tokens: no tokenizer makes more
    tokens than bytes, so nearly all are settled by their size.
    """

    def __init__(self, tokenizer: Tokenizer, context: int):
        self.tokenizer, self.context = tokenizer, context
        self._frame = len(tokenizer.chat([{"role": "user", "content": ""}]))

    def fitting(self, documents: Sequence[Document], part: str) -> list[Document]:
        """The documents whose prompt, text and end token are within the context, `target_tokens`
        being known; the others are counted and named in the log."""
        kept, left_out = [], []
        for document in documents:
            length = (document.target_tokens or 0) + 1
            fits = self._bound(document) + length <= self.context
            fits = fits or self._prompt(document) + length <= self.context
            (kept if fits else left_out).append(document)
        if left_out:
            left_out.sort(key=lambda document: -(document.target_tokens or 0))
            named = ", ".join(
                f"{document.id} ({document.target_tokens:,})" for document in left_out[:_NAMED]
            )
            more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
            log.warning(
                "%d of %d %s texts are longer with their prompts than the model's context of %d "
                "tokens and are left out: id (tokens) %s%s; data.max_words leaves out by length",
                *(len(left_out), len(documents), part, self.context, named, more),
            )
        return kept

    def longest_prompt(self, documents: Sequence[Document], enough: int) -> int:
        """Tokens of the longest prompt, or any number above it that is at most `enough`."""
        bounds = sorted(((self._bound(d), i) for i, d in enumerate(documents)), reverse=True)
        longest = 0
        for bound, index in bounds:
            if bound <= max(longest, enough):
                return max(longest, bound)
            longest = max(longest, self._prompt(documents[index]))
        return longest

    def _bound(self, document: Document) -> int:
        messages = prompt_messages(document)
        plain = all(message.keys() == {"role", "content"} for message in messages)
        size = sum(len(message["content"].encode()) for message in messages)
        return self._frame * (len(messages) + 1) + size if plain else self.context + 1

    def _prompt(self, document: Document) -> int:
        return len(self.tokenizer.chat(prompt_messages(document)))
