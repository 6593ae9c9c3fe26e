"""What pages point to is there: files, headings, and paths in code."""

from __future__ import annotations

import re

import pytest
from markdown_pages import FENCE, ROOT, SPAN, anchors, links, pages

PATH = re.compile(r"(?<!\w)(?:benchmarks|csrc|docs|dftfast|examples|kernels|tests)/[\w./-]+\.\w+")
EVERYTHING = [str(page.relative_to(ROOT)) for page in pages()]
HISTORY = {"CHANGELOG.md", "benchmarks/results/README.md"}  # names what there was


@pytest.mark.parametrize("name", EVERYTHING)
def test_links_lead_somewhere(name):
    page = ROOT / name
    dead = []
    for link in links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            dead.append(f"{link}: no such file")
        elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
            dead.append(f"{link}: no such heading")
    assert not dead, "\n".join(dead)


@pytest.mark.parametrize("name", [name for name in EVERYTHING if name not in HISTORY])
def test_paths_in_code_are_there(name):
    text = FENCE.sub("", (ROOT / name).read_text(encoding="utf-8"))
    named = [path for _, code in SPAN.findall(text) for path in PATH.findall(code)]
    dead = [path for path in named if "NAME" not in path and not (ROOT / path).exists()]
    assert not dead, "\n".join(dead)


def test_every_page_is_found_from_the_index():
    index = ROOT / "docs" / "README.md"
    seen, waiting = set(), [index]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        targets = (link.partition("#")[0] for link in links(page.read_text(encoding="utf-8")))
        waiting += [(page.parent / target).resolve() for target in targets if target]
    alone = {page for page in (ROOT / "docs").rglob("*.md")} - seen
    assert not alone, f"no link leads to {sorted(page.name for page in alone)}"


def test_every_room_is_in_the_architecture():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in (ROOT / "dftfast").glob("*/__init__.py")}
    described = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert rooms - {"runtime"} == described
