"""Length, em dashes and outline of a brief: hand-computed cases, and where nothing is asked."""

from __future__ import annotations

import numpy as np
import pytest

from dftfast.data.document import parse_row
from dftfast.evaluation import TextSet, evaluate
from dftfast.evaluation.brief_checks import per_text

BRIEF = {
    "title": "Lunch",
    "text": "Lunch is at noon in the garden on Friday, see you",
    "outline": ["lunch at noon", "the garden"],
}


def briefs(*changes):
    return [parse_row(BRIEF | change) for change in changes]


def test_length_error_is_in_doublings_of_the_length_asked_for():
    asked = briefs({}, {}, {})
    measured = per_text(["word " * 11, "word " * 22, ""], asked)["length_error"]
    assert measured == pytest.approx([0.0, 1.0, np.log2(11)])


def test_em_dashes_count_only_against_the_brief():
    asked = briefs({}, {}, {"em_dashes_allowed": True}, {"text": "so \u2014 yes"})
    measured = per_text(["no \u2014 yes", "no - yes", "no \u2014 yes", "no \u2014 yes"], asked)[
        "em_dash_error"
    ]
    assert measured[:2].tolist() == [1.0, 0.0] and np.isnan(measured[2:]).all()


def test_outline_coverage_is_the_share_of_its_longer_words():
    asked = briefs({}, {}, {"outline": []})
    measured = per_text(["LUNCH, at noon.", "gardening", "Lunch"], asked)["outline_coverage"]
    assert measured[:2] == pytest.approx([2 / 3, 0.0]) and np.isnan(measured[2])


def test_human_texts_keep_to_their_own_briefs():
    (brief,) = briefs({})
    measured = {name: values[0] for name, values in per_text([BRIEF["text"]], [brief]).items()}
    assert measured == {"length_error": 0.0, "em_dash_error": 0.0, "outline_coverage": 1.0}


def test_evaluation_reports_adherence_where_the_reference_has_briefs():
    ids, texts = (
        [str(i) for i in range(8)],
        [f"Lunch number {i} is at noon in the garden" for i in range(8)],
    )
    human = TextSet(
        ids, ids, texts, briefs=[parse_row(BRIEF | {"text": text}) for text in texts], name="human"
    )
    short = TextSet(ids, ids, [text[:-7] for text in texts])
    figures = evaluate(short, human, rounds=20)
    assert (
        figures["outline_coverage"].value == pytest.approx(2 / 3)
        and figures["outline_coverage"].human == 1.0
    )
    assert figures["em_dash_error"].value == 0.0 and figures["length_error"].value == pytest.approx(
        np.log2(9 / 8)
    )
    human.briefs = None
    assert "length_error" not in evaluate(short, human, rounds=20)
