"""Briefs by a model, with what can be checked of them checked."""

from __future__ import annotations

import re

from dftfast.data.split import hash_share, shingles
from dftfast.prepare.asking import Prompts, Question, Wrong
from dftfast.prepare.extractive import outline_is_empty
from dftfast.prepare.piece import Piece

_TOKENS = 512  # of the answer
_POINTS = 12  # most of an outline
_LONGEST = 120  # characters of use case and style
_NUMBER = re.compile(r"\d[\d.,:/]*\d|\d")
_QUOTE = re.compile(r"[\"“„«]([^\"“”„«»]{2,})[\"“”»]")


def brief_question(piece: Piece, prompts: Prompts) -> Question:
    """Whose answer is the brief: prompt, use_case, style, outline.

    The kind of prompt and whether the outline is empty are decided by the hash of the id.
    """
    kinds = prompts.variants
    variant = kinds[int(hash_share(piece.id, "kind of prompt") * len(kinds))]
    text = piece.cleaned
    messages = [
        {"role": "system", "content": prompts.fill("brief")},
        {"role": "user", "content": prompts.fill("brief_document", variant=variant, text=text)},
    ]
    return Question(messages, lambda answer: _brief(answer, piece, text), _TOKENS)


def _brief(answer: dict, piece: Piece, text: str) -> dict:
    brief: dict = {name: _string(answer, name) for name in ("prompt", "use_case", "style")}
    if any(len(brief[name]) > _LONGEST for name in ("use_case", "style")):
        raise Wrong(f"use_case or style is longer than {_LONGEST} characters")
    if shingles(brief["prompt"]) & shingles(text):
        raise Wrong("the prompt repeats eight words of the text")
    outline = answer.get("outline")
    if not isinstance(outline, list) or not all(isinstance(p, str) and p.strip() for p in outline):
        raise Wrong('"outline" is not a list of texts')
    if len(outline) > _POINTS:
        raise Wrong(f"the outline has more than {_POINTS} points")
    _check_facts(outline, text)
    brief["outline"] = [] if outline_is_empty(piece.id) else [" ".join(p.split()) for p in outline]
    kept = {k: v for k, v in piece.given.items() if k in ("use_case", "style", "outline")}
    return {"brief": "model", **({"title": piece.title} if piece.title else {}), **brief, **kept}


def _check_facts(outline: list[str], text: str) -> None:
    """Every number and quote of the outline stands in the text."""
    numbers = set(_NUMBER.findall(text))
    plain = " ".join(text.lower().split())
    for point in outline:
        for number in _NUMBER.findall(point):
            if number not in numbers:
                raise Wrong("a number of the outline is not in the text")
        for quote in _QUOTE.findall(point):
            if " ".join(quote.lower().split()).strip(" .,;:!?") not in plain:
                raise Wrong("a quote of the outline is not in the text")


def _string(answer: dict, name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Wrong(f'"{name}" is not a text')
    return " ".join(value.encode("utf-8", "replace").decode().split())
