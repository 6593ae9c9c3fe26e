"""Pages of Markdown as a reader meets them: sentences of prose, headings, links, blocks of code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)(?: \"[^\"]*\")?\)")
DRAWN = re.compile(r'<img src="([^"]+)"[^>]*>')
SPAN = re.compile(r"(`+)(.+?)\1")
# What starts a new piece of prose: a bullet, a number, a quotation.
ITEM = re.compile(r"^\s*(?:[-*+]|\d+\.|>)\s+")
# A full stop that ends no sentence.
SHORT = re.compile(r"\b(?:e\.g|i\.e|et al|vs|cf|approx)\.$")
END = re.compile(r"(?<=[.!?])[)*”\"]*\s+(?=[\"“(*`]*[A-Z0-9])|(?<=[.!?]\))\s+|(?<=[.!?]\*\*)\s+")

NO_PROSE = re.compile(r"[|#<>]|---")
STARTS = re.compile(rf"{NO_PROSE.pattern}|{ITEM.pattern}")
ENDED = re.compile(r"[.!?:][)*”\"`]*$")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the page on which it begins."""

    language: str
    text: str
    line: int


def pages() -> list[Path]:
    """Every page that a reader is sent to."""
    folders = (ROOT / "docs", ROOT / "benchmarks", ROOT / "examples", ROOT / ".github")
    nested = (page for folder in folders for page in folder.rglob("*.md"))
    return sorted([*ROOT.glob("*.md"), *nested])


def blocks(text: str) -> list[Block]:
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start()) + 1)
        for found in FENCE.finditer(text)
    ]


def links(text: str) -> list[str]:
    """Targets of links and images, without what stands in code."""
    prose = SPAN.sub("", FENCE.sub("", text))
    return [target for _, target in LINK.findall(prose)] + DRAWN.findall(prose)


def anchors(text: str) -> set[str]:
    """The names that headings get, as GitHub and mkdocs give them."""
    found: list[str] = []
    for line in FENCE.sub("", text).splitlines():
        if heading := re.match(r"#{1,6} (.*)", line):
            title = LINK.sub(r"\1", heading[1]).lower()
            found.append(re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-"))
    return set(found)


def sentences(text: str) -> list[str]:
    """Sentences of prose: tables, headings, formulas, code and comments are none."""
    text = re.sub(r"<!--.*?-->", "", DRAWN.sub("", FENCE.sub("\n", text)), flags=re.DOTALL)
    text = re.sub(r"^---\n.*?^---\n", "", text, count=1, flags=re.MULTILINE | re.DOTALL)
    pieces, fresh = [""], True
    for line in text.splitlines():
        formula = fresh and line.startswith("    ")
        fresh = not line.strip() or formula
        if fresh or line.startswith(("|", "#")):
            pieces.append("")
        elif ITEM.match(line):
            pieces.append(ITEM.sub("", line))
        else:
            pieces[-1] += " " + line.strip()
    return [found for piece in pieces for found in _split(_plain(piece)) if num_words(found)]


def broken_lines(text: str) -> list[str]:
    """Lines of prose that end inside a sentence, which goes on in the next line."""
    lines = [line.strip() for line in FENCE.sub("\n", text).splitlines()]
    found = []
    for line, following in pairwise(lines):
        goes_on = following and not STARTS.match(following)
        if goes_on and line and not NO_PROSE.match(line) and not ENDED.search(line):
            found.append(line)
    return found


def num_words(sentence: str) -> int:
    return len([word for word in sentence.split() if re.search(r"\w", word)])


def _plain(piece: str) -> str:
    """Without the marks of Markdown; a span of code is a word."""
    piece = SPAN.sub("Code", LINK.sub(r"\1", SPAN.sub(lambda s: s[0].replace(" ", "_"), piece)))
    return re.sub(r"(?<!\w)\*+|\*+(?!\w)", "", piece).strip()


def _split(piece: str) -> list[str]:
    found: list[str] = []
    for part in END.split(piece):
        if found and SHORT.search(found[-1]):
            found[-1] += " " + part
        else:
            found.append(part)
    return found
