"""Where texts lie among the ends of a blend, and how the report shows it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dftfast.evaluation import Reference, ReportContext, evaluate, write_report
from dftfast.evaluation.blend_place import BlendEnds, places

CENTRES = {
    "legal.jsonl": (0.0, 0.0, 0.0),
    "friendly.jsonl": (2.0, 0.0, 0.0),
    "dry": (0.0, 2.0, 0.0),
}


def texts(n, seed, **shares):
    """Embeddings of n texts of which these shares are around each centre."""
    rng = np.random.default_rng(seed)
    means = [np.tile(CENTRES[end], (round(n * share), 1)) for end, share in shares.items()]
    rows = np.concatenate(means)
    return (rows + rng.normal(size=rows.shape)).astype(np.float32)


def ends(n=300, **weights):
    points = {end: texts(n, k + 10, **{end: 1}) for k, end in enumerate(weights)}
    return BlendEnds(weights, points)


LEGAL, FRIENDLY = "legal.jsonl", "friendly.jsonl"
TWO = {LEGAL: 0.7, FRIENDLY: 0.3}


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_a_mixture_lies_where_it_was_mixed(share):
    mixed = texts(400, 3, **{LEGAL: 1 - share, FRIENDLY: share})
    place = places(ends(**TWO), {"mixed": mixed})["mixed"]
    found = place.shares[FRIENDLY]
    assert found.low < share < found.high and found.high - found.low < 0.3
    assert place.shares[LEGAL].value == pytest.approx(1 - found.value)


def test_intervals_hold_what_they_say():
    inside = 0
    for seed in range(40):
        points = {end: texts(150, 1000 + 2 * seed + k, **{end: 1}) for k, end in enumerate(TWO)}
        mixed = texts(200, 2000 + seed, **{LEGAL: 0.6, FRIENDLY: 0.4})
        found = places(BlendEnds(TWO, points), {"x": mixed}, rounds=200)["x"].shares[FRIENDLY]
        inside += found.low <= 0.4 <= found.high
    assert inside >= 34  # 95% of 40 is 38; below 34 has a chance of 1%


def test_what_follows_the_blend_is_nearest_to_it():
    sets = {
        "follows": texts(600, 4, **TWO),
        "one": texts(600, 5, **{LEGAL: 1}),
    }
    found = places(ends(600, **TWO), sets)
    for place in found.values():
        assert place.distances.keys() == TWO.keys()
    follows, one = found["follows"], found["one"]
    assert abs(follows.from_blend) < 0.002 < min(follows.distances.values())
    assert abs(one.distances[LEGAL]) < 0.002 < one.from_blend < one.distances[FRIENDLY]


def test_three_ends():
    asked = {LEGAL: 0.5, FRIENDLY: 0.3, "dry": 0.2}
    found = places(ends(600, **asked), {"x": texts(1000, 6, **asked)})["x"].shares
    for end, share in asked.items():
        assert found[end].value == pytest.approx(share, abs=0.08)
    assert sum(e.value for e in found.values()) == pytest.approx(1)


def test_ends_that_are_the_same_have_nothing_between():
    points = {end: texts(200, k, **{LEGAL: 1}) for k, end in enumerate(TWO)}
    place = places(BlendEnds(TWO, points), {"x": texts(200, 9, **{LEGAL: 1})})["x"]
    assert place.shares == {} and abs(place.from_blend) < 0.005


@pytest.fixture
def written(sets, tmp_path):
    """Of a blend: (page, Markdown, report.json)."""

    def write(given):
        human, dft = sets(40, 0), sets(40, 9)
        for k, each in enumerate((human, dft)):
            each.embeddings = texts(40, k, **TWO)
        reference = Reference(human, rounds=30)
        results = {"dft": evaluate(dft, reference)}
        context = ReportContext(reference, ends=given)
        write_report(tmp_path, results, {"dft": dft, "human": human}, context=context)
        page, text = (tmp_path / f"report.{kind}" for kind in ("html", "md"))
        record = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
        return page.read_text(encoding="utf-8"), text.read_text(encoding="utf-8"), record["blend"]

    return write


def test_the_report_shows_it(written):
    page, text, record = written(ends(**TWO))
    assert "70% texts like legal.jsonl, 30% texts like friendly.jsonl" in page
    assert page.count('class="track"') == 2  # human and dft
    assert record["weights"] == TWO and record["systems"].keys() == {"human", "dft"}
    share = record["systems"]["dft"]["shares"][LEGAL]["value"]
    assert f"<b>{100 * share:.0f}%</b> legal.jsonl" in page
    assert f"| {100 * share:.0f}% (" in text
    table = [line for line in text.split("## Can")[0].splitlines() if line.startswith("|")][-4:]
    assert len({line.count("|") for line in table}) == 1


def test_names_of_ends_are_text(written):
    name = "<b>*evil*</b>"
    page, text, _ = written(
        BlendEnds(
            {name: 0.5, LEGAL: 0.5},
            {name: texts(50, 1, **{FRIENDLY: 1}), LEGAL: texts(50, 2, **{LEGAL: 1})},
        )
    )
    assert "<b>*evil" not in page and "*evil*" not in text.replace("\\*", "")


def test_without_a_blend_there_is_no_word_of_it(written):
    page, text, record = written(None)
    assert record is None and "ends of the blend" not in page + text
