"""Cleaning by a model: it is shown numbered lines and answers with the numbers to delete."""

from __future__ import annotations

from dftfast.prepare.asking import Prompts, Question, Wrong
from dftfast.prepare.piece import Piece

_SHOWN = 300  # characters of a line: its beginning tells what it is
_TOKENS = 512  # of the answer: the numbers of some 150 lines


def cleaning_question(piece: Piece, prompts: Prompts) -> Question:
    """Whose answer is the numbers (from 0) of the lines to delete."""
    lines = piece.text.split("\n")
    shown = [i for i, line in enumerate(lines) if line.strip()]
    numbered = "\n".join(f"{i + 1}: {lines[i][:_SHOWN]}" for i in shown)
    messages = [
        {"role": "system", "content": prompts.fill("clean")},
        {"role": "user", "content": prompts.fill("clean_document", lines=numbered)},
    ]
    return Question(messages, lambda answer: _dropped(answer, shown), _TOKENS)


def _dropped(answer: dict, shown: list[int]) -> set[int]:
    numbers = answer.get("drop")
    if not isinstance(numbers, list) or any(type(n) is not int for n in numbers):
        raise Wrong('"drop" is not a list of line numbers')
    dropped = {number - 1 for number in numbers}
    if not dropped <= set(shown):
        raise Wrong("a number in it is not the number of a line")
    if len(dropped) == len(shown):
        raise Wrong("no line would be left")
    return dropped
