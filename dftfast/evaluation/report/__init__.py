"""The report: one self-contained HTML page, and the same as Markdown and JSON."""

from dftfast.evaluation.report.page import MAIN
from dftfast.evaluation.report.report_context import ReportContext
from dftfast.evaluation.report.written import write_report

__all__ = ["MAIN", "ReportContext", "write_report"]
