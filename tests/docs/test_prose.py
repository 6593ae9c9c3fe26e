"""Pages are read once, from top to end: short sentences, and none that says where on the page."""

from __future__ import annotations

import re
from statistics import median

import pytest
from markdown_pages import (
    ROOT,
    anchors,
    blocks,
    broken_lines,
    links,
    num_words,
    pages,
    sentences,
)

from dftfast.evaluation.metrics import METRICS

LONGEST = 45  # words
LONG, MOST_LONG = 35, 0.04  # words; share of sentences beyond them
USUAL = 17  # words; the median stays below
FEW = 10  # sentences, of which no share is taken
# Still to be edited: their sentences are not held to this.
UNEDITED = {"CHANGELOG.md"}
# A reader who comes by a link or a search has not read what stood above.
POSITIONAL = re.compile(
    r"\b(?:as|see) (?:above|below)\b|\b(?:rule|table|section|figures?) (?:above|below)\b", re.I
)


def names() -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages()]


@pytest.fixture(params=[name for name in names() if name not in UNEDITED])
def prose(request) -> list[str]:
    return sentences((ROOT / request.param).read_text(encoding="utf-8"))


def test_pages_left_out_are_there():
    assert set(names()) >= UNEDITED


def test_no_sentence_is_too_long(prose):
    long = [sentence for sentence in prose if num_words(sentence) > LONGEST]
    assert not long, "\n".join(long)


def test_sentences_are_short(prose):
    lengths = [num_words(sentence) for sentence in prose]
    if len(lengths) >= FEW:
        assert median(lengths) < USUAL
        long = [sentence for sentence in prose if num_words(sentence) > LONG]
        assert len(long) < MOST_LONG * len(prose), "\n".join(long)


@pytest.mark.parametrize("name", [name for name in names() if name.startswith("docs/")])
def test_a_sentence_is_on_one_line(name):
    """So a change of a sentence is a change of its line, and no other."""
    broken = broken_lines((ROOT / name).read_text(encoding="utf-8"))
    assert not broken, "\n".join(broken)


def test_broken_lines_are_found():
    text = (
        "# A head\n\nOne sentence. And a\nlonger one.\n- an item\n- that goes\n  on\n\n| a | b |\n"
    )
    assert broken_lines(text) == ["One sentence. And a", "- that goes"]


def test_no_sentence_points_up_or_down_the_page(prose):
    found = [sentence for sentence in prose if POSITIONAL.search(sentence)]
    assert not found, "\n".join(found)


def test_the_method_is_read_in_one_sitting():
    assert len((ROOT / "docs" / "method.md").read_text(encoding="utf-8").split()) <= 1800


PAGE = """# A page, by *two* hands

One. Two, e.g. this. `A long span.` Is it (a link to
[there](other.md#a-name "with a title")) one? Yes!

- A bullet
  goes on

    D = 1. No prose.

| a table | is none. |
|---|---|

```bash
echo "[no](link)"  # none. Either.
```
The end of 3.5 days.
"""


def test_what_is_taken_from_a_page():
    assert sentences(PAGE) == [
        "One.",
        "Two, e.g. this.",
        "Code Is it (a link to there) one?",
        "Yes!",
        "A bullet goes on",
        "The end of 3.5 days.",
    ]
    assert links(PAGE) == ["other.md#a-name"]
    assert anchors(PAGE) == {"a-page-by-two-hands"}
    assert [(block.language, block.line) for block in blocks(PAGE)] == [("bash", 14)]
    assert num_words("One, two – three.") == 3


def test_every_figure_of_the_report_is_explained():
    page = (ROOT / "docs" / "read-the-report.md").read_text(encoding="utf-8").lower()
    # the second and third of a family, "Token L2, pairs", stand in the row of the first
    titles = {
        each.title.lower().split(", pairs")[0].split(", triples")[0] for each in METRICS.values()
    }
    assert not {title for title in titles if title not in page}
