"""Rules files: which rules there are and their settings, as YAML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from dftfast.runtime.errors import UserError
from dftfast.runtime.files import atomic_file
from dftfast.writing.rule import Rule
from dftfast.writing.rules import NAMES, RULES
from dftfast.writing.rules.copied_runs import CopiedRuns

_VERSION = 1


def default_rules() -> list[Rule]:
    """Every rule with the limits that it has before it is fitted."""
    return [rule() for rule in RULES]


def load_rules(path: str | Path) -> list[Rule]:
    """The rules of a file; those that it does not name have their defaults.

    Raises:
        UserError: no such file, no YAML, or a rule or setting that does not exist.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: the rules cannot be read: {error}") from None
    given = content.get("rules") if isinstance(content, dict) else None
    if not isinstance(given, dict) or content.get("version", _VERSION) != _VERSION:
        raise UserError(f"{path}: no rules file; it has `version: 1` and `rules:`, by name")
    rules = rules_of(given, path)
    for rule in rules:
        if isinstance(rule, CopiedRuns):
            rule.load(path.parent)
    return rules


def rules_of(given: dict, where: str | Path) -> list[Rule]:
    """The rules by name with these settings; those that are not named have their defaults.

    Raises:
        UserError: a rule or setting that does not exist.
    """
    unknown = [str(name) for name in given if name not in NAMES]
    if unknown:
        raise UserError(f"{where}: {unknown[0]}: no such rule; there are {', '.join(NAMES)}")
    rules = []
    for rule in RULES:
        try:
            rules.append(rule.model_validate(given.get(rule.name) or {}))
        except ValidationError as error:
            first = error.errors()[0]
            setting = ".".join(map(str, (rule.name, *first["loc"])))
            raise UserError(
                f"{where}: {setting}: no such setting or value: {first['msg']}; see docs/check.md"
            ) from None
    return rules


def save_rules(path: str | Path, rules: Sequence[Rule], fitted: dict) -> None:
    """Write the rules, and beside them the hashes of the corpus's runs of words.

    Args:
        fitted: what they were fitted to, for whoever reads the file.
    """
    path = Path(path)
    for rule in rules:
        if isinstance(rule, CopiedRuns):
            rule.save(path.parent, f"{path.stem}.runs.npy")
    settings = {rule.name: rule.model_dump(mode="json") for rule in rules}
    content = {"version": _VERSION, "fitted": fitted, "rules": settings}
    with atomic_file(path) as part:
        part.write_text(
            yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
