"""Briefs taken from the texts themselves, without a model."""

from __future__ import annotations

import re

from dftfast.data.split import hash_share
from dftfast.prepare.key_clauses import key_clauses
from dftfast.prepare.piece import Piece
from dftfast.prepare.sentences import sentences
from dftfast.runtime.words import words

EMPTY_SHARE = 0.25  # of rows, by hash: a model is asked with and without an outline
_TITLE_WORDS = 7  # an eighth would make the prompt a run of the text's own words
_GREETING = re.compile(
    r"^(dear|hi|hello|hey|good (morning|afternoon)|liebe[rs]?|sehr geehrte|hallo|bonjour|cher|"
    r"chère|hola|estimad[oa]|querid[oa]|ciao|gentile|car[oa]|prezad[oa]|olá|beste|"
    r"geachte)\b.{0,50}[,:!]?$",
    re.I,
)
_CLOSING = re.compile(
    r"^(thanks|thank you|(best|kind|warm)? ?regards|best( wishes)?|sincerely|yours|cheers|love|"
    r"(viele|liebe|beste|mit freundlichen) grüße?n?|cordialement|bien à vous|saludos|un abrazo|"
    r"cordiali saluti|atenciosamente|met vriendelijke groet)\b.{0,30}$",
    re.I,
)
_NAMES = re.compile(
    r"^([A-Z][a-z]+ )?[A-Z]\w+( (and|und|et|y) [A-Z]\w+|/[A-Z]\w+)*\s*[,:]\s+(?=\S)"
)
_ITEM = re.compile(r"^\s*([-*•‣]|\d{1,2}[.)])\s")
_QUOTED = re.compile(r"[\"“„«].{3,300}?[\"”“»]|^\s*[—–] ")


def extractive_brief(piece: Piece, text: str) -> dict:
    """title, use_case, style, outline of the text: the row's own where it brought them."""
    language, _ = piece.language or ("und", "")
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return {
        "title": piece.title or first_words(_opening(lines), language),
        "use_case": piece.given.get("use_case") or _use_case(lines, piece.origin),
        "style": piece.given.get("style") or _style(text, language),
        "outline": piece.given.get("outline") or outline(piece, text, language),
    }


def outline(piece: Piece, text: str, language: str) -> list[str]:
    """Parts of the text in its order; none in a quarter of the rows."""
    return [] if outline_is_empty(piece.id) else key_clauses(text, language)


def outline_is_empty(identifier: str) -> bool:
    """By the hash of the id, so that every prefix of a corpus has a quarter, too."""
    return hash_share(identifier, "empty outline") < EMPTY_SHARE


def _opening(lines: list[str]) -> str:
    """The first line that greets nobody, without a name called at its start."""
    line = next((line for line in lines if not _GREETING.match(line)), lines[0])
    return _NAMES.sub("", line)


def first_words(line: str, language: str) -> str:
    """The line, or the beginning of its first sentence."""
    sentence = sentences(line.lstrip("#*- "), language)[0].strip()
    tokens = sentence.split()
    if len(words(sentence)) <= _TITLE_WORDS:
        return sentence.rstrip(".:,;") or line
    if len(tokens) == 1:  # a script without spaces
        return "".join(words(sentence)[: 2 * _TITLE_WORDS])
    return " ".join(tokens[:_TITLE_WORDS]).rstrip(".:,;") + " ..."


def _use_case(lines: list[str], origin: str) -> str:
    """One of five kinds, by the look of the lines."""
    mail = origin.partition(",")[0].lower().endswith((".eml", ".mbox"))
    greets = bool(_GREETING.match(lines[0])) and len(lines) > 1
    if mail or greets or any(_CLOSING.match(line) for line in lines[-3:] if len(lines) > 2):
        return "e-mail or letter"
    if sum(bool(_ITEM.match(line)) for line in lines) > 0.4 * len(lines) and len(lines) > 3:
        return "list or instructions"
    if sum(bool(_QUOTED.search(line)) for line in lines) > 0.5 * len(lines) and len(lines) > 3:
        return "dialogue"
    return "short text" if sum(len(words(line)) for line in lines) < 80 else "article"


def _style(text: str, language: str) -> str:
    """Length of the sentences, and whether they ask or exclaim."""
    parts = [part.strip() for part in sentences(text.replace("\n", " "), language) if part.strip()]
    mean = len(words(text)) / max(1, len(parts))
    named = "short" if mean < 12 else "long" if mean > 22 else "medium"
    asks = sum(part.endswith(("?", "？")) for part in parts) / max(1, len(parts))
    exclaims = sum(part.endswith(("!", "！")) for part in parts) / max(1, len(parts))
    more = [", with questions"] * (asks > 0.1) + [", with exclamations"] * (exclaims > 0.1)
    return f"{named} sentences{''.join(more)}"
