"""Which lines of a text are no part of it, by rules that need no model.

The rules are those of C4 (Raffel et al. 2020, section 2.2: JavaScript, policies, words beyond all
length), lines that a source repeats (as in CCNet, Wenzek et al. 2020), and what pages say around
texts, in the words of phrases.txt. C4's rule that a line ends in a full stop is not among them: it
deletes greetings, headings and verse.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from dftfast.prepare.piece import Piece
from dftfast.prepare.repeated_lines import Repeated
from dftfast.prepare.settings import Settings

_MOST_WORDS = 25  # of a line that can be boilerplate by what it says
_LONGEST_SAID = 300  # characters of such a line: expressions take their time over longer ones
_LONGEST_WORD = 1000  # characters (C4)
_MAIL = r"[\w.+-]+@[\w-]+(\.[\w-]+)+"
_PHONE = r"(?<![\w$€£.,])\(?\+?\d[\d ()/.-]{6,18}\d(?![\w,])"
_ADDRESS = re.compile(rf"{_MAIL}|(https?://|www\.)\S+|{_PHONE}", re.I)
_SEPARATOR = re.compile(r"\s+[|»›·•>/]\s+|\s*[|·•]\s*|\s{3,}|\t+")
_DASH = re.compile(r"\s+[–—-]\s+")
_ARROW = re.compile(r"^[←→]|^[«»‹›]\s[^«»]+$|[←→]$|^[^«»]+\s[»›]$")  # guillemets quote as well
_NETWORKS = re.compile(
    r"\b(facebook|twitter|linkedin|whatsapp|instagram|pinterest|telegram|reddit|youtube|xing|"
    r"e-?mail|print|share|tumblr|tiktok|x|copy link|messenger|rss)\b",
    re.I,
)
_STREET = re.compile(
    r"^\d{1,5}[a-z]? (\S+ ){1,4}(street|st\.?|road|rd\.?|avenue|ave\.?|lane|drive|square|way|"
    r"blvd\.?)\b.{0,40}$|^\S+(straße|strasse|str\.|weg|platz|allee) \d+\b.{0,40}$|"
    r"^(\d+,? )?(rue|avenue|calle|via|rua|ulica|ul\.) \S.{0,40}\d.{0,20}$",
    re.I,
)
_JOB = re.compile(
    r"\b(director|manager|officer|spokes(man|woman|person)|editor|president|head of|press)\b", re.I
)
_EDGE = re.compile(r"^[\W\d_]+|[\W_]+$")


class LineRules:
    """Finds the lines to remove.

    Args:
        settings: `without` names rules that are off.
        repeated: lines that stand in many documents of a source.
    """

    def __init__(self, settings: Settings, repeated: Repeated):
        self.off, self.repeated = settings.without, repeated
        self._checks = [check for check in _CHECKS if check[0] not in self.off]

    def removed(self, piece: Piece) -> dict[int, str]:
        """Number of the line (from 0) -> the rule that it falls under."""
        found: dict[int, str] = {}
        mail = piece.origin.partition(",")[0].lower().endswith((".eml", ".mbox"))
        signed = False
        for number, line in enumerate(piece.text.split("\n")):
            if not line.strip():
                continue
            signed = signed or (mail and line.strip() == "--" and "signature" not in self.off)
            rule = "signature" if signed else self._rule(line.strip(), piece.source, mail)
            if rule:
                found[number] = rule
        return found

    def _rule(self, line: str, source: str, mail: bool) -> str | None:
        if mail and line.startswith(">") and "quoted" not in self.off:
            return "quoted"
        if "repeated" not in self.off and self.repeated.holds(source, line):
            return "repeated"
        rule = _said(line)
        if rule and rule not in self.off:
            return rule
        return next((name for name, check in self._checks if check(line)), None)


def _javascript(line: str) -> bool:
    lower = line.lower()
    return "javascript" in lower and any(
        w in lower for w in ("enable", "disable", "require", "var ")
    )


def _navigation(line: str) -> bool:
    """Short names, three or more, between separators; or an arrow beside a few words."""
    if len(line) > 200 or line.endswith((".", "!", "?", ":", ",")):
        return False
    for separator, fewest, most in ((_SEPARATOR, 3, 4), (_DASH, 4, 2)):
        names = [name for name in separator.split(line) if name]
        short = all(len(name.split()) <= most and name[:1].isalnum() for name in names)
        if len(names) >= fewest and short and any(map(str.isalpha, names[0])):
            return True
    return bool(_ARROW.search(line)) and len(line.split()) <= 6


def _networks(line: str) -> bool:
    return len(_NETWORKS.findall(line)) >= 3 and not re.search(
        r"[^\W\d_]", _NETWORKS.sub("", line).replace("via", "")
    )


def _contact(line: str) -> bool:
    """A line that is little more than an address, a number or a link."""
    if len(line) > _LONGEST_SAID or len(line.split()) > 14:
        return False
    if not (found := list(_ADDRESS.finditer(line))):
        return bool(_STREET.match(line)) and len(line) < 70
    rest = _ADDRESS.sub(" ", line)
    left = [w for w in re.findall(r"[^\W\d_]{2,}", rest)]
    if any(w in rest for w in (". ", "? ", "! ")):
        return False
    return len(left) <= len(found) or (bool(_JOB.search(rest)) and line.count(",") >= 2)


def _symbols(line: str) -> bool:
    """A line of marks alone, but for the ones that part a text (*, -, _, #, ~, =, dots)."""
    return not any(map(str.isalnum, line)) and not re.fullmatch(r"[\s*\-_#~=.…•—–]+", line)


_CHECKS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("long_word", lambda line: any(len(word) > _LONGEST_WORD for word in line.split())),
    ("javascript", _javascript),
    ("navigation", _navigation),
    ("share", _networks),
    ("contact", _contact),
    ("symbols", _symbols),
)


@lru_cache(maxsize=2**14)
def _said(line: str) -> str | None:
    """The rule of the first phrase that the line says."""
    if len(line.split()) > _MOST_WORDS or len(line) > _LONGEST_SAID:
        return None
    bare = _EDGE.sub("", line)
    for name, expression, whole in _phrases():
        if whole:
            if expression.fullmatch(bare) or expression.fullmatch(line):
                return name
        elif expression.search(line):
            return name
    return None


@lru_cache(maxsize=1)
def _phrases() -> list[tuple[str, re.Pattern, bool]]:
    written = Path(__file__).with_name("phrases.txt").read_text(encoding="utf-8")
    rows = [row.split(" ", 2) for row in written.splitlines() if row and not row.startswith("#")]
    return [(name, re.compile(text, re.I), where == "whole") for name, where, text in rows]


LINE_RULES = (
    *("repeated", "quoted", "signature"),
    *dict.fromkeys(name for name, _, _ in _phrases()),
    *(name for name, _ in _CHECKS if name not in {said for said, _, _ in _phrases()}),
)
