"""The rules, one a file."""

from __future__ import annotations

from dftfast.writing.rule import Rule
from dftfast.writing.rules.characters import Characters
from dftfast.writing.rules.copied_runs import CopiedRuns
from dftfast.writing.rules.foreign_script import ForeignScript
from dftfast.writing.rules.grammar import Grammar
from dftfast.writing.rules.length_asked import LengthAsked
from dftfast.writing.rules.model_phrases import ModelPhrases
from dftfast.writing.rules.not_but import NotBut
from dftfast.writing.rules.outline_facts import OutlineFacts
from dftfast.writing.rules.outline_points import OutlinePoints
from dftfast.writing.rules.repeated_openings import RepeatedOpenings
from dftfast.writing.rules.repetition import Repetition
from dftfast.writing.rules.rhythm import Rhythm
from dftfast.writing.rules.rule_of_three import RuleOfThree

RULES: tuple[type[Rule], ...] = (
    ModelPhrases,
    NotBut,
    RuleOfThree,
    RepeatedOpenings,
    Rhythm,
    Repetition,
    Characters,
    ForeignScript,
    CopiedRuns,
    LengthAsked,
    OutlinePoints,
    OutlineFacts,
    Grammar,
)
NAMES = tuple(rule.name for rule in RULES)
