"""Text of a sample while its tokens arrive."""

from __future__ import annotations

from dftfast.rollout.request import Sequence


class TextStream:
    """Turns tokens into pieces of text whose concatenation is the decoded text.

    A piece is held back while it ends inside a character (byte-level tokens split UTF-8), and is
    decoded together with the tokens before it, since a tokenizer may treat the first token of a
    text differently.
    """

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.context: list[int] = []  # already shown
        self.pending: list[int] = []

    def add(self, token: int, last: bool = False) -> str:
        """Text that is certain now; `last` shows what is left."""
        self.pending.append(token)
        shown = self.tokenizer.decode(self.context)
        text = self.tokenizer.decode(self.context + self.pending)
        if text.endswith("\ufffd") and not last:
            return ""
        self.context, self.pending = self.pending, []
        return text[len(shown) :]


def holds_stop_string(tokenizer, sequence: Sequence) -> bool:
    """Whether the end of a sample's text holds one of its stop strings."""
    stops = sequence.request.sampler.stop_strings
    # a token is a byte at least; 4 for a split character
    window = max(len(stop.encode()) for stop in stops) + 4
    start = max(len(sequence.request.prompt), len(sequence.tokens) - window)
    text = tokenizer.decode(sequence.tokens[start:])
    return any(stop in text for stop in stops)
