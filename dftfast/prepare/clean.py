"""Cleaning by rules, and the check that holds for every way of cleaning: lines are only deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from dftfast.prepare.document_rules import document_rule
from dftfast.prepare.languages import language_of
from dftfast.prepare.lines import LineRules
from dftfast.prepare.piece import Piece
from dftfast.prepare.settings import Settings
from dftfast.runtime.words import words

Removed = Callable[[Piece, dict[int, str], str | None], object]


def clean(
    pieces: Iterable[Piece],
    rules: LineRules,
    settings: Settings,
    removed: Removed,
    final: bool = True,
) -> Iterator[Piece]:
    """The pieces that are writing, with the numbers of the lines that are kept.

    Args:
        removed: told of each piece what was removed: rule of each line, and the rule under which
            the piece was left out, if it was.
        final: False where a model cleans again what is kept, so that only what is left out is told.
    """
    for piece in pieces:
        lines = rules.removed(piece)
        cleaned = without_lines(piece, lines)
        text = cleaned.cleaned
        language = language_of(text)
        rule = _left_out(text, language[0], settings)
        if rule or (lines and final):
            removed(piece, lines, rule)
        if rule is None:
            yield replace(cleaned, language=language)


def without_lines(piece: Piece, removed: Iterable[int]) -> Piece:
    """The piece without these lines.

    Of the blank lines around what is removed one stays, so that paragraphs stay apart.
    """
    lines, gone = piece.text.split("\n"), set(removed)
    kept: list[int] = []
    cut = False  # since the last kept line something was removed
    for number, line in enumerate(lines):
        if number in gone:
            cut = True
        elif not line.strip() and cut and (not kept or not lines[kept[-1]].strip()):
            continue
        else:
            kept.append(number)
            cut = cut and not line.strip()
    return replace(piece, lines=tuple(kept))


def is_subsequence(lines: Iterable[str], of: Iterable[str]) -> bool:
    """Whether the lines stand in `of` in the same order, with others between."""
    others = iter(of)
    return all(line in others for line in lines)


def _left_out(text: str, language: str, settings: Settings) -> str | None:
    if len(words(text)) < settings.min_words and "short" not in settings.without:
        return "short"
    if settings.languages and language not in settings.languages:
        return "language"
    return document_rule(text, language, settings.without)
