"""The report: one self-contained HTML page, and the same as Markdown and JSON."""

from dftfast.evaluation.report.write import write_report

__all__ = ["write_report"]
