"""Tests for writing: rules that are fitted to a corpus and say where a text differs from it."""

from __future__ import annotations

from dftfast.writing.assertions import assert_passes
from dftfast.writing.checking import check
from dftfast.writing.fitting import Fitted, fit_rules
from dftfast.writing.rule import Example, Finding, Rule
from dftfast.writing.rules_file import default_rules, load_rules, save_rules

__all__ = [
    "Example",
    "Finding",
    "Fitted",
    "Rule",
    "assert_passes",
    "check",
    "default_rules",
    "fit_rules",
    "load_rules",
    "save_rules",
]
