"""Rules find what their examples say, and are where the documentation and the file say."""

from __future__ import annotations

import numpy as np
import pytest
from not_but_examples import EXAMPLES, OTHERS, PLAIN
from scipy import stats

from dftfast.data.document import Document
from dftfast.evaluation.denials import not_but_spans
from dftfast.writing import check, default_rules
from dftfast.writing.passage import Passage
from dftfast.writing.rule import may_fail, upper_limit
from dftfast.writing.rules import NAMES, RULES
from dftfast.writing.rules.model_phrases import shipped

FOUND = [(rule, example) for rule in RULES for example in rule.found]
PASSED = [(rule, example) for rule in RULES for example in rule.passed]


def findings(rule, example):
    if rule.name == "grammar":
        pytest.importorskip("harper")
    made = rule(**(example.settings or {}))
    return list(made.find(Passage(example.text), example.brief))


@pytest.mark.parametrize("rule, example", FOUND, ids=lambda x: getattr(x, "name", None))
def test_finds(rule, example):
    found = findings(rule, example)
    assert found
    assert all(0 <= f.start <= f.end <= len(example.text) for f in found)
    assert {f.rule for f in found} == {rule.name}


@pytest.mark.parametrize("rule, example", PASSED, ids=lambda x: getattr(x, "name", None))
def test_passes(rule, example):
    assert findings(rule, example) == []


def test_every_rule_says_what_it_finds():
    assert len(set(NAMES)) == len(RULES)
    for rule in RULES:
        assert rule.about.endswith((".", "before.")) and rule.passed
        assert rule.found or rule.name == "copied-runs"  # which needs a corpus


def test_not_but_finds_most_of_its_kind():
    assert len(EXAMPLES) == 60
    assert sum(bool(not_but_spans(text)) for text in EXAMPLES) >= 0.9 * len(EXAMPLES)


def test_not_but_finds_most_of_those_that_it_was_not_written_with():
    assert sum(bool(not_but_spans(text)) for text in OTHERS) >= 0.8 * len(OTHERS)


def test_not_but_leaves_plain_denials():
    assert [text for text in PLAIN if not_but_spans(text)] == []


def test_the_finding_of_a_repetition_is_the_second_one():
    text = "The bus to the old mill leaves at nine. Yes. The bus to the old mill leaves at nine."
    rule = next(r for r in RULES if r.name == "repetition")(most=6)
    [found] = rule.find(Passage(text), None)
    assert (found.start, text[found.start : found.end]) == (
        text.rindex("The bus"),
        "The bus to the old mill leaves at nine",
    )


def test_an_altered_number_and_quotation_are_shown_where_they_are():
    brief = Document("", "", "", outline=("1,250 copies", "“It was never about the money”"))
    text = "It sold 1,520 copies. “It was all about the money”, she said."
    found = [f for f in check(text, brief=brief) if f.rule == "outline-facts"]
    assert [text[f.start : f.end] for f in found] == ["1,520", "It was all about the money"]
    assert found[1].replacement == "It was never about the money"


@pytest.mark.parametrize("before", ["", "😀👩‍👩‍👧 ", "日本語です。 ", "é́ "])
def test_places_are_right_behind_any_text(before):
    text = f"{before}We delve into it, a wo\u200brd. Not just here, but there."
    quiet = ("foreign-script", "characters")
    found = {f.rule: text[f.start : f.end] for f in check(text) if f.rule not in quiet}
    assert found == {"model-phrases": "delve into", "not-but": "Not just here, but"}
    assert any(text[f.start : f.end] == "\u200b" for f in check(text) if f.rule == "characters")


def test_every_entry_of_the_shipped_lists_is_found():
    rule = next(r for r in RULES if r.name == "model-phrases")()
    for phrase in shipped():
        text = f"Then {phrase} again."
        assert [text[f.start : f.end] for f in rule.find(Passage(text), None)], phrase
    assert "bustling" in shipped() and "delve into" in shipped()


def test_quick_fixes_mend():
    text = "A\u200b “b”."
    rule = next(r for r in RULES if r.name == "characters")(curly_quotes=False)
    for f in sorted(rule.find(Passage(text), None), key=lambda f: -f.start):
        text = text[: f.start] + f.replacement + text[f.end :]
    assert text == 'A "b".'


def test_no_rule_fails_on_odd_texts():
    for text in ("", " \n\n ", "\x00", "...", "😀", "a" * 5000, "\ud800", "no\r\nword.\r\n"):
        for f in check(text):
            assert 0 <= f.start <= f.end <= len(text)


@pytest.mark.parametrize("share, above", [(0.01, 4), (0.1, 84), (0.0005, 0)])
def test_limits_hold_for_texts_to_come(share, above):
    levels = np.random.default_rng(0).permutation(1000).tolist()
    limit = upper_limit(levels, share)
    assert sum(level > limit for level in levels) == above == may_fail(1000, share)
    if above:
        assert stats.binom.cdf(above, 1000, share) < 0.05 <= stats.binom.cdf(above + 1, 1000, share)


def test_rules_start_with_limits():
    assert [rule.name for rule in default_rules()] == list(NAMES)
    assert check("A plain sentence of a person who wrote it.") == []
