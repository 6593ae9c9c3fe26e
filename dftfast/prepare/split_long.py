"""Documents that are over-long, cut where a reader would put them down."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import pairwise

from dftfast.prepare.piece import Skip
from dftfast.prepare.sentences import sentences
from dftfast.runtime.words import words

Lines = list[str]
_HEADING = re.compile(
    r"#{1,6} |(chapter|kapitel|chapitre|capítulo|section|part) [\divxlc]+\b", re.I
)


def split_long(lines: Lines, max_words: int) -> list[Lines]:
    """Parts of at most `max_words` words and about the same length.

    They are cut at headings; a section that is too long, at blank lines; a paragraph that is too
    long, at line ends; a line that is too long, between sentences.

    Raises:
        Skip: a sentence is longer than a part may be.
    """
    return _split(lines, max_words, 0)


def _split(lines: Lines, most: int, level: int) -> list[Lines]:
    total = _count(lines)
    if total <= most:
        return [lines]
    if level == len(_CUTS):
        raise Skip(f"a sentence of more than {most} words")
    aim = total / math.ceil(total / most)
    parts: list[Lines] = []
    current: Lines = []
    held = 0
    join = _joined if level == len(_CUTS) - 1 else list.__add__
    for unit in _CUTS[level](lines):
        size = _count(unit)
        if current and (held + size > most or held >= aim):
            parts.append(current)
            current, held = [], 0
        if size > most:
            parts += _split(unit, most, level + 1)
        else:
            current, held = join(current, unit), held + size
    return [*parts, current] if any(map(str.strip, current)) else parts


def _count(lines: Lines) -> int:
    return sum(len(words(line)) for line in lines)


def _starting(starts: Callable[[Lines, int], bool]) -> Callable[[Lines], list[Lines]]:
    """Cut before the lines that start something."""

    def cut(lines: Lines) -> list[Lines]:
        places = [0, *(i for i in range(1, len(lines)) if starts(lines, i)), len(lines)]
        return [lines[a:b] for a, b in pairwise(places)]

    return cut


def _sentences(lines: Lines) -> list[Lines]:
    return [[sentence] for line in lines for sentence in sentences(line, "en")]


def _joined(lines: Lines, more: Lines) -> Lines:
    """Sentences stay on their line."""
    return ["".join([*lines, *more])]


_CUTS = (
    _starting(lambda lines, i: bool(_HEADING.match(lines[i]))),
    _starting(lambda lines, i: bool(lines[i].strip()) and not lines[i - 1].strip()),
    _starting(lambda lines, i: True),
    _sentences,
)
