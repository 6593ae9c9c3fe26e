"""Spelling and grammar by Harper: off unless asked for, and fitted to what people write."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from not_but_examples import PLAIN

from dftfast.check import main
from dftfast.data.document import Document
from dftfast.runtime.errors import UserError
from dftfast.writing import check, fit_rules, load_rules, save_rules
from dftfast.writing.rules.grammar import Grammar, _linter

SENTENCES = (
    "The colour of the harbour was grey. We labour there.",
    "Please see the spreddsheet before noon.",
    "I seen an test of it.",
)


@pytest.fixture(scope="module")
def fitted():
    pytest.importorskip("harper")
    texts = [f"{PLAIN[i % len(PLAIN)]} {SENTENCES[i % 2]} Line {i}." for i in range(240)]
    return fit_rules([Document(str(i), t, "a title") for i, t in enumerate(texts)], grammar=True)


def found(text, rules):
    return [text[f.start : f.end] for f in check(text, rules) if f.rule == "grammar"]


def test_it_is_off_unless_asked_for():
    assert found(SENTENCES[2], None) == []
    assert Grammar().severity == "off"


def test_it_learns_dialect_and_words_of_the_corpus(fitted, tmp_path):
    rule = next(rule for rule in fitted.rules if rule.name == "grammar")
    assert rule.dialect != "american" and "spreddsheet" in rule.words
    path = tmp_path / "writing.yaml"
    save_rules(path, fitted.rules, {})
    rules = load_rules(path)
    assert found(SENTENCES[0], rules) == found(SENTENCES[1], rules) == []
    assert "an" in found(SENTENCES[2], rules)


def test_places_are_right_behind_any_text_and_in_any_thread():
    pytest.importorskip("harper")
    text = "😀 日本 e\u0301 \ud800 I saw teh house."
    rules = [Grammar(severity="error")]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: found(text, rules), range(64))) == [["teh"]] * 64
    [finding] = check(text, rules)
    assert finding.replacement == "the"


def test_without_harper_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "harper", None)
    _linter.cache_clear()
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: {grammar: {severity: error}}")
    (tmp_path / "a.txt").write_text("A text.")
    with pytest.raises(UserError, match=r"dftfast\[grammar\]"):
        main([str(tmp_path / "a.txt"), "--rules", str(rules)])
