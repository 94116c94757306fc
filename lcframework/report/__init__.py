"""The HTML report and the diagnostic plots of a project.

Names are imported at their first use: processes that only draw plots need neither the database nor plotly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lcframework.report.page import write_report
    from lcframework.report.plots.drawing import draw
    from lcframework.report.plots.jobs import KINDS

__all__ = ["KINDS", "draw", "write_report"]
_HOME = {"KINDS": "plots.jobs", "draw": "plots.drawing", "write_report": "page"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
