"""Briefs taken from the texts themselves, without a model.

The outline is made of key phrases by RAKE (Rose et al. 2010): runs of words between stop words and
punctuation, a word's score being its degree over its frequency. The libraries that have RAKE are no
longer kept, and YAKE's takes 25 ms a text of 300 words. Stop words are scikit-learn's for English
and those of stopwordsiso for other languages.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from dftfast.data.document import words
from dftfast.data.split import hash_share
from dftfast.prepare.document_rules import stop_words
from dftfast.prepare.piece import Piece
from dftfast.prepare.sentences import sentences

EMPTY_SHARE = 0.25  # of rows, by hash: a model is asked with and without an outline
_TITLE_WORDS = 7  # an eighth would make the prompt a run of the text's own words
_POINTS = (5, 8)  # fewest and most of an outline; one for 30 words between them
_PHRASE = 4  # words at most
_TOKEN = re.compile(r"[^\W_]+(?:[.,'’-][^\W_]+)*")
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


def extractive_brief(piece: Piece) -> dict:
    """title, use_case, style, outline: the row's own where it brought them."""
    text, (language, _) = piece.cleaned, piece.language or ("und", "")
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return {
        "title": piece.title or first_words(_opening(lines), language),
        "use_case": piece.given.get("use_case") or _use_case(lines, piece.origin),
        "style": piece.given.get("style") or _style(text, language),
        "outline": piece.given.get("outline") or outline(piece, text, language),
    }


def outline(piece: Piece, text: str, language: str) -> list[str]:
    """Key phrases in the order of the text; none in a quarter of the rows."""
    if outline_is_empty(piece.id):
        return []
    phrases = key_phrases(text, language)
    fewest, most = _POINTS
    best = sorted(phrases, key=lambda p: (-phrases[p], text.find(p)))
    best = best[: min(most, max(fewest, len(words(text)) // 30))]
    return sorted(best, key=text.find)


def outline_is_empty(identifier: str) -> bool:
    """By the hash of the id, so that every prefix of a corpus has a quarter, too."""
    return hash_share(identifier, "empty outline") < EMPTY_SHARE


def key_phrases(text: str, language: str) -> dict[str, float]:
    """Phrase as the text has it -> its score; none for scripts without spaces."""
    stops = _stops(language)
    runs = [run for line in re.split(r"[.!?;:()\[\]\"“”]\s|\n", text) for run in _runs(line, stops)]
    frequency, degree = Counter[str](), Counter[str]()
    for run in runs:
        for word in (match.group().lower() for match in run):
            frequency[word] += 1
            degree[word] += len(run)
    found: dict[str, tuple[str, float]] = {}
    for run in runs:
        part = run[:_PHRASE]
        if not any(m.group()[0].isalpha() for m in part):
            continue
        phrase = part[0].string[part[0].start() : part[-1].end()]
        score = sum(degree[m.group().lower()] / frequency[m.group().lower()] for m in part)
        found.setdefault(phrase.lower(), (phrase, score))
    return dict(found.values())


@lru_cache(maxsize=64)
def _stops(language: str) -> frozenset[str]:
    """Of English scikit-learn's, whose list is a quarter of the other: it leaves more phrases."""
    if language in ("en", "und") or not stop_words(language):
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        return frozenset(ENGLISH_STOP_WORDS)
    return stop_words(language)


def _runs(line: str, stops: frozenset[str]) -> list[list[re.Match]]:
    """Neighbouring words of a line that are no stop words, with nothing but spaces between."""
    runs: list[list[re.Match]] = [[]]
    end = 0
    for match in _TOKEN.finditer(line):
        if line[end : match.start()].strip():
            runs.append([])
        if match.group().lower() in stops:
            runs.append([])
        else:
            runs[-1].append(match)
        end = match.end()
    return [run for run in runs if run]


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
