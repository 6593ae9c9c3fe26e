"""How far texts are from human writing: metrics with intervals, comparison of systems, report."""

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
    super_baseline,
    verdicts,
)
from dftfast.evaluation.textset import TextSet

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
    "super_baseline",
    "terminal_table",
    "verdicts",
    "write_report",
    "write_results",
]
