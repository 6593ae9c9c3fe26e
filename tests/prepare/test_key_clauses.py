"""Outlines without a model: parts of the text, its facts first, about a quarter of its words."""

from __future__ import annotations

import pytest

from dftfast.prepare.key_clauses import MOST, key_clauses
from dftfast.runtime.words import words

MAIL = (
    "Hi all, just a short note before the weekend, as I promised to send one to you.\n"
    "The harbour office moves to Mill Street on 14 March, and I will be there to help. "
    "Mrs Carey said “we will miss the gulls” when I told her. "
    "If you have any questions, then please do not hesitate to ask me about it."
)
NOTE = "The ferry is late. Bring the blue lamp and two ropes, for the night will be long."


def test_facts_names_and_quotations_come_first():
    points = key_clauses(MAIL, "en")
    assert "“we will miss the gulls”" in points
    assert any("Mill Street" in point and "14 March" in point for point in points)


@pytest.mark.parametrize("text", [MAIL, NOTE, f"{MAIL}\n{NOTE}\n" * 4])
def test_points_are_parts_of_the_text_in_its_order(text):
    points = key_clauses(text, "en")
    places = [text.find(point) for point in points]
    assert min(places) >= 0 and 2 <= len(points) <= MOST
    assert all(len(words(point)) <= 14 for point in points)
    assert sum(len(words(point)) for point in points) <= 0.25 * len(words(text)) + 14


def test_scripts_without_spaces_have_points_too():
    text = "他昨天去了北京，买了三本书。书店的老板说：“欢迎再来。”然后他回家了。"
    assert all(point in text for point in key_clauses(text, "zh")) and key_clauses(text, "zh")


@pytest.mark.parametrize("odd", ["", "...", "\n \n", "x" * 20_000, "word " * 2_000, "\ud800 \x00"])
def test_odd_texts_have_few_points_or_none(odd):
    assert len(key_clauses(odd, "en")) <= MOST
