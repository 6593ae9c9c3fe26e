"""The answer on a terminal: what the first screen of the report says, in a few lines."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from dftfast.evaluation.estimate import Estimate
from dftfast.evaluation.metrics import METRICS
from dftfast.evaluation.outcome import Finding
from dftfast.evaluation.super_baseline import Results, super_baseline_systems, verdicts

WIDTH, LINES = 80, 20
SYSTEMS = 8  # rows of the table


def answer(findings: Mapping[str, Finding], candidate: str | None) -> str:
    """The result in a sentence or two."""
    if candidate is not None and candidate in findings:
        return findings[candidate].sentence
    if len(findings) == 1:
        return next(iter(findings.values())).sentence
    told = [name for name, finding in findings.items() if finding.told.told]
    if not told:
        return f"None of the {len(findings)} sets of texts can be told from the human texts."
    return f"{len(told)} of {len(findings)} sets of texts can be told from the human texts."


def against_baselines(results: Results, candidate: str | None, counted: Sequence[str]) -> str:
    """How a candidate compares with the best of the others; empty without one."""
    others = super_baseline_systems(results, candidate)
    if candidate is None or candidate not in results or not others:
        return ""
    found = [c.verdict for m, (_, c) in verdicts(results, candidate).items() if m in counted]
    better, level, worse = (found.count(word) for word in ("better", "level", "worse"))
    return (
        f"{candidate} is better than the best of {len(others)} baselines on {better} of "
        f"{len(found)} figures, level on {level}, worse on {worse}."
    )


def nearest_first(results: Results) -> list[str]:
    """The systems by their distance from the human texts, those without one last."""

    def distance(name: str) -> float:
        known = (results[name].get(m, Estimate()).value for m in ("mmd2", "token_l2_1"))
        return next((value for value in known if value is not None), float("inf"))

    return sorted(results, key=distance)


def terminal_answer(
    results: Results,
    findings: Mapping[str, Finding],
    candidate: str | None,
    counted: Sequence[str],
    places: Mapping[str, object],
) -> str:
    """At most 20 lines of 80 columns, paths apart: the answer, why, and where the rest is.

    Args:
        counted: the metrics that the comparison with other systems counts.
        places: what to say at the end, by name: the report, a sampler, ...
    """
    lines = textwrap.wrap(answer(findings, candidate), WIDTH)
    lines += textwrap.wrap(against_baselines(results, candidate, counted), WIDTH)
    if candidate not in findings and len(findings) > 1:
        lines += ["", *_table(results, findings)]
    else:
        finding = findings.get(candidate or "") or next(iter(findings.values()))
        lines += why(finding.reasons)
        if finding.alike:
            like = f"Like human: {', '.join(finding.alike)}."
            lines += ["", *textwrap.wrap(like, WIDTH, max_lines=2, placeholder=" ...")]
    ends = [f"  {name:<9}{value}" for name, value in places.items()]
    room = LINES - len(ends) - 1
    return "\n".join([*lines[:room], *([""] if ends else []), *ends])


def why(reasons: Sequence, most: int = 5) -> list[str]:
    """What gives the outputs away, a line or two each."""
    if not reasons:
        return []
    lines = ["", "What gives it away:"]
    for number, reason in enumerate(reasons[:most], 1):
        text = reason.text if hasattr(reason, "text") else reason["text"]
        lines += textwrap.wrap(
            f"{number}. {text}",
            WIDTH - 2,
            initial_indent="  ",
            subsequent_indent="     ",
            max_lines=2,
            placeholder=" ...",
        )
    return lines


def _table(results: Results, findings: Mapping[str, Finding]) -> list[str]:
    """A row for each system, the nearest first."""
    rows = [f"{'nearest first':<24}{'told':>5}{'right of 100':>14}{'MMD':>9}  most of all"]
    order = [name for name in nearest_first(results) if name in findings]
    for name in order[:SYSTEMS]:
        finding, mmd = findings[name], results[name].get("mmd", Estimate())
        told = "yes" if finding.told.told else "no"
        of_100 = "–" if finding.classified is None else f"{100 * finding.classified:.0f}"
        value = METRICS["mmd"].format(mmd.value)
        reason = finding.reasons[0].text if finding.reasons else ""
        row = f"{_short(name, 23):<24}{told:>5}{of_100:>14}{value:>9}  {reason}"
        rows.append(_short(row, WIDTH))
    if len(order) > SYSTEMS:
        rows.append(f"... and {len(order) - SYSTEMS} more")
    return rows


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
