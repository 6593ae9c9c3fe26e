"""How far a set of texts is from human writing: figures with intervals, comparison of systems, report."""
from .baseline import RIVAL, Comparison, compare, super_baseline, verdicts
from .figure import Figure
from .metrics import METRICS, Metric
from .reference import Reference
from .report import write_report
from .results import read_results, terminal_table, write_results
from .slop.analysis import Slop, analyse
from .suite import evaluate
from .textset import TextSet

__all__ = ["METRICS", "RIVAL", "Comparison", "Figure", "Metric", "Reference", "Slop", "TextSet", "analyse", "compare",
           "evaluate", "read_results", "super_baseline", "terminal_table", "verdicts", "write_report", "write_results"]
