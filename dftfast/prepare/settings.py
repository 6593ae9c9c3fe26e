"""What the steps depend on, as the command line gives it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Options of the steps that need no model.

    Attributes:
        max_words: longest row; longer documents are split.
        min_words: shortest row; what cleaning leaves of fewer words is left out.
        split_at: regular expression of a line that begins a new document of a text file.
        text_field: column of .csv, .jsonl and .parquet that holds the text.
        without: names of rules that are off.
        languages: keep only these (ISO 639-1); empty keeps all.
        mask: replace e-mail addresses, phone numbers and the like.
        region: country of phone numbers that are written without a country's code (ISO 3166).
    """

    max_words: int = 800
    min_words: int = 20
    split_at: str | None = None
    text_field: str = "text"
    without: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()
    mask: bool = False
    region: str = "US"
