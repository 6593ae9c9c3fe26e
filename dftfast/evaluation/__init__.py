"""How far texts are from human writing: metrics with intervals, comparison of systems, report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dftfast.runtime.lazy import imported_late

__all__ = [
    "BASELINE",
    "METRICS",
    "Comparison",
    "Estimate",
    "Metric",
    "Reference",
    "ReportContext",
    "Slop",
    "TextSet",
    "analyse",
    "compare",
    "evaluate",
    "read_results",
    "terminal_table",
    "verdicts",
    "write_report",
    "write_results",
]

if TYPE_CHECKING:
    from dftfast.evaluation.estimate import Estimate
    from dftfast.evaluation.metrics import METRICS, Metric
    from dftfast.evaluation.reference import Reference
    from dftfast.evaluation.report import ReportContext, write_report
    from dftfast.evaluation.results import read_results, terminal_table, write_results
    from dftfast.evaluation.slop.analysis import Slop, analyse
    from dftfast.evaluation.suite import evaluate
    from dftfast.evaluation.super_baseline import (
        BASELINE,
        Comparison,
        compare,
        verdicts,
    )
    from dftfast.evaluation.textset import TextSet

__getattr__ = imported_late(
    __name__,
    {
        "BASELINE": "super_baseline",
        "Comparison": "super_baseline",
        "Estimate": "estimate",
        "METRICS": "metrics",
        "Metric": "metrics",
        "Reference": "reference",
        "ReportContext": "report",
        "Slop": "slop.analysis",
        "TextSet": "textset",
        "analyse": "slop.analysis",
        "compare": "super_baseline",
        "evaluate": "suite",
        "read_results": "results",
        "terminal_table": "results",
        "verdicts": "super_baseline",
        "write_report": "report",
        "write_results": "results",
    },
)
