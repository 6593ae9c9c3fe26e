"""Pages are spelt right: Harper with the project's own words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown_pages import pages, sentences

harper = pytest.importorskip("harper")
WORDS = Path(__file__).with_name("project_words.txt").read_text(encoding="utf-8").split()
_A_WORD = re.compile(r"[^\W\d_]{3,}(?:['’]s)?")  # no symbol, number or name of a version


@pytest.fixture(scope="module")
def linter():
    made = harper.Linter(harper.Dialect.BRITISH)
    made.import_words([*WORDS, *(f"{word}'s" for word in WORDS)])
    config = made.get_default_lint_config()
    made.set_lint_config({name: name == "SpellCheck" for name in config})
    return made


def misspelt(linter, text):
    plain = re.sub(r"[*]+", "", text)
    found = [lint.problem_text for lint in linter.lint(plain, language="plaintext")]
    return sorted(set(filter(_A_WORD.fullmatch, found)))


def test_a_mistake_is_found(linter):
    assert misspelt(linter, "We recieve the *texts* of SmolLM2 in float32.") == ["recieve"]


@pytest.mark.parametrize("page", pages(), ids=str)
def test_spelling(page, linter):
    found = misspelt(linter, "\n\n".join(sentences(page.read_text(encoding="utf-8"))))
    assert not found, f"{found}: mend them, or add names and terms to tests/docs/project_words.txt"
