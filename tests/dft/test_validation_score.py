"""The score of a phase: all views count by standard deviations, and the start is 0."""

from __future__ import annotations

import pytest

from dftfast.dft.validation import score


def test_a_score_is_the_change_in_standard_deviations_as_a_share_of_the_starts():
    start = {"mmd": 8.5, "style": 9.3, "3-grams": 1.4}
    assert score(start, start) == 0
    assert score({"mmd": 4.25, "style": 4.65, "3-grams": 0.7}, start) == pytest.approx(-0.5)
    # one view that a lucky start was near in does not outweigh the rest
    assert score({"mmd": 5.7, "style": 5.9, "3-grams": 5.4}, start) == pytest.approx(
        -0.115, abs=1e-3
    )


def test_a_start_like_human_text_does_not_enlarge_changes():
    start = {"mmd": 0.1, "style": -0.2}
    assert score({"mmd": 1.1, "style": 0.8}, start) == pytest.approx(1.0)
