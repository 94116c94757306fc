"""The HTML report and the diagnostic plots of a project."""

from __future__ import annotations

from lcframework.report.page import write_report
from lcframework.report.plots import KINDS, draw

__all__ = ["KINDS", "draw", "write_report"]
