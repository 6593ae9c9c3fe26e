"""What docs/build.py writes is as it would be written now, and is right."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree

import pytest
from builders.error_messages import messages, messages_page
from builders.first_run import first_run
from builders.parts import stale, with_part
from builders.run_cards import run_cards, runs_page
from builders.svg_charts import Dumbbell, bars, dumbbells
from markdown_pages import ROOT

from dftfast.evaluation.report.page import L2, MAIN


def test_pages_are_up_to_date():
    assert not stale(ROOT), "run: python docs/build.py"


def test_a_part_stands_between_its_marks():
    page = "a\n<!-- made by docs/build.py -->\nold\n<!-- end -->\nb\n"
    new = with_part(page, "new \\1")
    assert new == "a\n<!-- made by docs/build.py -->\n\nnew \\1\n<!-- end -->\nb\n"
    assert with_part(new, "old") == with_part(page, "old")


def test_messages_are_read_from_code():
    source = (
        'raise UserError(f"{where}: {key}: unknown key; the nearest is {near}")\n'
        'raise ValueError("not for users")\n'
        'raise Diverged("ten steps " + f"in a {row}")\nraise UserError(f"{a}: {b}")\n'
    )
    assert messages(source) == ["…: unknown key; the nearest is …", "ten steps in a …"]


def test_messages_have_a_part_and_a_cure(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "load.py").write_text(
        "raise UserError(f\"{x}: needs it: pip install 'a[b]'\")\n"
        'raise UserError("a | b: bad; do this")\nraise UserError("no cure")\n'
    )
    page = messages_page(tmp_path)
    assert "### Corpus" in page
    assert "| `…: needs it` | `pip install 'a[b]'` |" in page
    assert "| `a / b: bad` | Do this. |" in page
    assert "| `no cure` |  |" in page
    (tmp_path / "elsewhere.py").write_text('raise UserError("some thing wrong")')
    with pytest.raises(AssertionError, match=r"elsewhere\.py"):
        messages_page(tmp_path)


def estimate(value: float) -> dict:
    return {"value": value, "human": 0.001, "human_low": -0.001, "human_high": 0.002}


def results(ours: float, verdict: str) -> dict:
    return {
        "format": 1,
        "about": {"prompts": 9, "draws": 2},
        "systems": {
            "sft a": {"mmd2": estimate(0.009)},
            "sft b": {"mmd2": estimate(0.005)},
            "dft": {"mmd2": estimate(ours)},
        },
        "verdicts": {"mmd2": {"verdict": verdict}, "mmd": {"verdict": verdict}},
    }


@pytest.fixture
def cards(tmp_path):
    """A run of two seeds, and one without a card."""
    for name in ("letters", "unfinished"):
        (tmp_path / name).mkdir()
        for seed, (ours, verdict) in enumerate([(0.002, "better"), (0.004, "level")]):
            text = json.dumps(results(ours, verdict))
            (tmp_path / name / f"results-seed-{seed}.json").write_text(text)
    (tmp_path / "letters" / "README.md").write_text(
        "# Letters, 135M\n\n- minutes: 25\n- commit: abc\n"
    )
    return run_cards(tmp_path)


def test_a_run_with_a_card_has_a_table_and_a_figure(cards):
    assert [card.name for card in cards] == ["letters"]
    page = runs_page(cards)
    assert "## Letters, 135M" in page and "figures/letters.svg" in page
    # half of .005 - .001 is left: the mean of the seeds is .003
    row = "| MMD² | 0.00500 | 0.00300 (0.00200 to 0.00400) | 0.00100 | 50% | better 1, level 1 |"
    assert row in page
    # a standard deviation is .003 / 3.92
    assert "| Letters, 135M | 50% | 2.6 | 25 | abc |" in page
    tree = ElementTree.fromstring(cards[0].chart())
    assert tree.attrib["viewBox"].startswith("0 0 560 ")
    assert "MMD²" in "".join(tree.itertext())


def test_the_readme_has_the_figures_of_its_run_and_counts_the_main_ones(cards):
    block = first_run(cards, "letters")
    assert "Two seeds of everything, 9 held-out prompts, 2 answers to each" in block
    row = "| MMD², embedder that training follows | 0.00500 | 0.00300 | 0.00100 | 50% | 1 / 1 / 0 |"
    assert row in block
    # MMD² is not among the main figures, MMD is
    assert "Of the 1 [main figures]" in block
    assert "better on 1 and 0, level on 0 and 1 and worse on 0 and 0." in block


def test_the_main_figures_are_those_that_the_page_lists():
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    listed = page[page.index("- **Main figures**") : page.index("- **Better, worse, level**")]
    three = "the three `token_l2`"
    assert three in listed
    names = [*re.findall(r"`(\w+)`", listed.replace(three, "")), *L2]
    assert sorted(names) == sorted(MAIN)


def test_no_run_is_said_in_words():
    assert runs_page([]).startswith("No run")


def test_charts_place_what_they_show():
    svg = dumbbells([Dumbbell("a & b", 0.5, 0.4, 0.6, (0.0, 0.2))], "title", "caption")
    tree = ElementTree.fromstring(svg)
    circles = [c for c in tree.iter() if c.tag.endswith("circle")]
    ours, best = (float(c.attrib["cx"]) for c in circles)
    zero = next(float(t.attrib["x1"]) for t in tree.iter() if t.attrib.get("y1") == "20")
    assert zero < ours < best and abs(ours - (zero + best) / 2) < 0.2
    tree = ElementTree.fromstring(bars([("x", 2.0), ("y", 1.0)], "title", "caption"))
    drawn = [r for r in tree.iter() if r.tag.endswith("rect") and r.attrib["class"] != "paper"]
    wide, narrow = (float(r.attrib["width"]) for r in drawn)
    assert abs(wide - 2 * narrow) < 0.2


def test_a_copy_that_is_not_built_is_noticed(tmp_path):
    for name in ("docs", "dftfast", "benchmarks/results"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.so"))
    shutil.copy(ROOT / "README.md", tmp_path)
    assert not stale(tmp_path)
    page = tmp_path / "docs" / "troubleshooting.md"
    page.write_text(page.read_text(encoding="utf-8").replace("`--config: …", "`--konfig: …"))
    assert stale(tmp_path) == [page]
