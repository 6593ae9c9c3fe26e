"""Places in a text as Python counts them (characters) and as a page does (units of UTF-16)."""

from __future__ import annotations

from bisect import bisect_left


class Utf16:
    """Converts places in one text."""

    def __init__(self, text: str):
        self._length = len(text)
        # characters that take two units; most texts have none
        wide = [] if text.isascii() else [i for i, c in enumerate(text) if c > "\uffff"]
        self._wide, self._wide_units = wide, [i + n for n, i in enumerate(wide)]

    def units(self, place: int) -> int:
        """Of a place in characters."""
        return place + bisect_left(self._wide, place)

    def place(self, units: int) -> int:
        """In characters, no further than the end; inside a character it is that one's start."""
        return min(units - bisect_left(self._wide_units, units), self._length)
