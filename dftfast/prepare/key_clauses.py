"""The points of an outline, as the text has them: its facts, names and quotations first.

A point is a part of a sentence between commas, cut to a few words that begin and end with one that
means something. Words are scored as RAKE does (Rose et al. 2010): over the runs of words between
stop words and punctuation, a word's score is its degree over its frequency. The libraries that have
RAKE are no longer kept, and YAKE's takes 25 ms a text of 300 words. Stop words are scikit-learn's
for English and those of stopwordsiso for other languages.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from dftfast.prepare.document_rules import stop_words
from dftfast.prepare.sentences import sentences
from dftfast.runtime.words import words

SHARE = 0.25  # of the text's words that the points have together, about
MOST = 10  # points
_LONGEST = 7  # words of a point, fewer than make a run that counts as copied
_OF_ONE = 3  # points of one sentence at most
_FACT, _NAME = 4.0, 2.0  # what a number and a name are worth, in words of score 1
_TOKEN = re.compile(r"[^\W_]+(?:[.,'’:/-][^\W_]+)*%?")
_QUOTE = re.compile(r"“[^“”\n]{3,90}”|„[^„“\n]{3,90}“|«[^«»\n]{3,90}»|\"[^\"\n]{3,90}\"")


class _Clause(NamedTuple):
    """text[start:end], which part of which sentence it is, and what it is worth."""

    start: int
    end: int
    sentence: int
    score: float


def key_clauses(text: str, language: str) -> list[str]:
    """Points that are parts of the text, in its order, with about `SHARE` of its words."""
    clauses = _clauses(text, language)
    room, chosen, taken = SHARE * len(words(text)), [], Counter[int]()
    while clauses and len(chosen) < MOST and (room > 0 or len(chosen) < 2):
        best = max(clauses, key=lambda c: c.score / (1 + taken[c.sentence]))
        clauses.remove(best)
        if any(best.start < c.end and c.start < best.end for c in chosen):
            continue
        chosen.append(best)
        taken[best.sentence] += 1
        room -= len(words(text[best.start : best.end]))
    return [text[c.start : c.end] for c in sorted(chosen)]


def _clauses(text: str, language: str) -> list[_Clause]:
    """The best few of each sentence and every quotation."""
    stops, found, at = _stops(language), [], 0
    parts = []
    for number, sentence in enumerate(_lines_and_sentences(text, language)):
        for run in _between_marks(text, at, at + len(sentence)):
            parts.append((number, run))
        at += len(sentence)
    scores = _scores([run for _, run in parts], stops)
    by_sentence: dict[int, list[_Clause]] = {}
    for number, run in parts:
        by_sentence.setdefault(number, []).extend(_windows(run, number, scores, stops))
    for clauses in by_sentence.values():
        best = []
        for clause in sorted(clauses, key=lambda c: (-c.score, c.start)):
            if all(clause.end <= c.start or c.end <= clause.start for c in best):
                best.append(clause)
            if len(best) == _OF_ONE:
                break
        found += best
    quotes = (m for m in _QUOTE.finditer(text) if len(words(m.group())) <= 2 * _LONGEST)
    worth = max((c.score for c in found), default=1.0)
    return found + [_Clause(*m.span(), -1 - i, worth) for i, m in enumerate(quotes)]


def _windows(
    run: list[re.Match], sentence: int, scores: dict[str, float], stops: frozenset[str]
) -> Iterator[_Clause]:
    """Neighbouring words, the first and the last of which are no stop words."""
    worth = [
        0.0 if (m.group().lower() in stops) else _worth(m, i, scores) for i, m in enumerate(run)
    ]
    for first, word in enumerate(run):
        if not worth[first]:
            continue
        total = 0.0
        for last in range(first, min(first + _LONGEST, len(run))):
            total += worth[last]
            alone = first == last and len(words(word.group())) == 1
            if worth[last] and not (alone and not word.group()[0].isupper()):
                yield _Clause(word.start(), run[last].end(), sentence, total)
            if len(words(word.string[word.start() : run[last].end()])) >= 2 * _LONGEST:
                break


def _worth(match: re.Match, place: int, scores: dict[str, float]) -> float:
    word = match.group()
    fact = _FACT * any(c.isdigit() for c in word)
    name = _NAME * (word[0].isupper() and place > 0)
    return min(scores.get(word.lower(), 1.0), 4.0) + fact + name


def _scores(parts: list[list[re.Match]], stops: frozenset[str]) -> dict[str, float]:
    """Degree over frequency of every word that is no stop word."""
    frequency, degree = Counter[str](), Counter[str]()
    for part in parts:
        run: list[str] = []
        for word in [*(m.group().lower() for m in part), None]:
            if word is not None and word not in stops:
                run.append(word)
                continue
            frequency.update(run)
            for each in run:
                degree[each] += len(run)
            run = []
    return {word: degree[word] / count for word, count in frequency.items()}


def _lines_and_sentences(text: str, language: str) -> Iterator[str]:
    """Together they are the text."""
    for line in text.splitlines(keepends=True):
        yield from sentences(line, language)


def _between_marks(text: str, start: int, end: int) -> Iterator[list[re.Match]]:
    """The words of text[start:end], parted where there is more than space between two."""
    run: list[re.Match] = []
    for match in _TOKEN.finditer(text, start, end):
        if run and text[run[-1].end() : match.start()].strip("'’ $€£#&-\t"):
            yield run
            run = []
        run.append(match)
    if run:
        yield run


@lru_cache(maxsize=64)
def _stops(language: str) -> frozenset[str]:
    """Of English scikit-learn's, whose list is a quarter of the other: it leaves more phrases."""
    if language in ("en", "und") or not stop_words(language):
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        return frozenset(ENGLISH_STOP_WORDS)
    return stop_words(language)
