"""Thresholds for a set of texts (`evaluate --check`): what must hold of its figures.

Each is judged on the 95% interval of a figure and not on its point: a check fails where the
interval says that the threshold is broken, so that chance alone does not turn a build red.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dftfast.evaluation.estimate import Estimate, wilson
from dftfast.evaluation.metrics import METRICS
from dftfast.evaluation.results import cell, read_results
from dftfast.evaluation.slop.overused import Overused
from dftfast.evaluation.super_baseline import compare
from dftfast.runtime.errors import UserError

Figures = Mapping[str, Estimate]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PhraseLimit(_Strict):
    """No phrase is in more than `share` of the outputs and overused at `p`."""

    share: float = Field(ge=0, le=1)
    p: float = Field(default=0.05, gt=0, le=1)


class Checks(_Strict):
    """The content of checks.yaml.

    Attributes:
        max: figure -> the most that it may be.
        within_human: figures that must be as of human texts.
        p_above: figure -> what p of its permutation test must be above.
        no_phrase_over: see `PhraseLimit`.
        not_worse_than: results.json of another evaluation; no figure may be worse than there.
    """

    max: dict[str, float] = {}
    within_human: list[str] = []
    p_above: dict[str, float] = {}
    no_phrase_over: PhraseLimit | None = None
    not_worse_than: Path | None = None

    @field_validator("max", "within_human", "p_above")
    @classmethod
    def _known(cls, names):
        unknown = [name for name in names if name not in METRICS]
        if unknown:
            raise ValueError(f"there is no figure {unknown[0]!r}; figures: {', '.join(METRICS)}")
        return names


@dataclass(frozen=True)
class Check:
    """A threshold of one system, and whether it holds.

    Attributes:
        name: of the check, with its figure.
        message: figure, interval and threshold in words.
    """

    system: str
    name: str
    passed: bool
    message: str


def read_checks(path: str | Path) -> Checks:
    """The thresholds of a file, paths in it as seen from its folder.

    Raises:
        UserError: it cannot be read, or says what there is not.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"--check: {path} cannot be read: {error}") from None
    try:
        checks = Checks.model_validate(content or {})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"--check: {path}: {where}: {first['msg']}") from None
    if checks == Checks():
        raise UserError(f"--check: {path} has no check; see docs/evaluate-in-ci.md")
    if checks.not_worse_than is not None:
        checks.not_worse_than = Path(path).parent / checks.not_worse_than
        read_results(checks.not_worse_than)
    return checks


def judge_figures(
    checks: Checks, system: str, figures: Figures, phrases: Sequence[Overused], count: int
) -> list[Check]:
    """Every check of one system.

    Args:
        phrases: all phrases that were examined, overused or not.
        count: texts of the system.
    """
    found = []
    for metric, limit in checks.max.items():
        found.append(_most(system, metric, figures.get(metric, Estimate()), limit))
    for metric in checks.within_human:
        found.append(_within_human(system, metric, figures.get(metric, Estimate())))
    for metric, least in checks.p_above.items():
        p = figures.get(metric, Estimate()).p
        text = f"{_title(metric)}: " + ("no p is known" if p is None else f"p {p:.3f}")
        found.append(
            Check(system, f"p_above {metric}", p is not None and p > least, f"{text}, > {least:g}")
        )
    if checks.no_phrase_over is not None:
        found.append(_phrases(system, checks.no_phrase_over, phrases, count))
    if checks.not_worse_than is not None:
        found += _not_worse(system, checks.not_worse_than, figures)
    return found


def _title(metric: str) -> str:
    return METRICS[metric].title


def _unknown(system: str, name: str, metric: str, f: Estimate) -> Check:
    """A figure that is not there has not passed."""
    return Check(system, name, False, f"{_title(metric)} is not known: {f.reason or 'no figure'}")


def _most(system: str, metric: str, f: Estimate, limit: float) -> Check:
    name = f"max {metric}"
    if f.value is None:
        return _unknown(system, name, metric, f)
    least = f.value if f.low is None else f.low
    text = f"{_title(metric)} {cell(metric, f)}, at most {METRICS[metric].format(limit)}"
    return Check(system, name, least <= limit, text)


def _within_human(system: str, metric: str, f: Estimate) -> Check:
    name = f"within_human {metric}"
    if f.value is None or f.human_low is None or f.human_high is None:
        return _unknown(system, name, metric, f)
    low, high = (f.value, f.value) if f.low is None or f.high is None else (f.low, f.high)
    human = cell(metric, Estimate(f.human, f.human_low, f.human_high))
    text = f"{_title(metric)} {cell(metric, f)}, human texts {human}"
    return Check(system, name, low <= f.human_high and high >= f.human_low, text)


def _phrases(system: str, limit: PhraseLimit, phrases: Sequence[Overused], count: int) -> Check:
    """The lower end of a share's interval counts, and p adjusted for all phrases examined."""
    over = [
        row
        for row in phrases
        if row.outputs > row.human
        and row.p < limit.p
        and wilson(np.arange(count) < round(row.outputs * count))[0] > limit.share
    ]
    names = ", ".join(
        f"“{row.phrase}” in {100 * row.outputs:.0f}% (human {100 * row.human:.0f}%)"
        for row in sorted(over, key=lambda row: -row.outputs)[:5]
    )
    text = f"{len(over)} phrases in over {100 * limit.share:g}% of texts"
    return Check(system, "no_phrase_over", not over, f"{text}: {names}" if over else text)


def _not_worse(system: str, path: Path, figures: Figures) -> list[Check]:
    """A check for each figure that both have and that can be better or worse."""
    there = read_results(path)
    if system not in there and len(there) > 1:
        raise UserError(
            f"--check: {path} has no system {system!r}; it has {', '.join(there)}: name the file "
            "NAME=FILE as it was there"
        )
    before = there.get(system) or next(iter(there.values()))
    found = []
    for metric in METRICS:
        old, new = before.get(metric, Estimate()), figures.get(metric, Estimate())
        comparison = compare(metric, new, old)
        if comparison is not None:
            text = f"{_title(metric)} {cell(metric, new)}, before {cell(metric, old)}"
            passed = comparison.verdict != "worse"
            found.append(Check(system, f"not_worse_than {metric}", passed, text))
    return found
