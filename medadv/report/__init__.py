"""The report of a sweep: one HTML file that opens offline."""

from medadv.report.write import write_report

__all__ = ["write_report"]
