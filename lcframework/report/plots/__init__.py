"""Diagnostic plots in ``workdir/plots/``: each a pure function from values to a figure, beside a thin loader."""

from __future__ import annotations

from lcframework.report.plots.drawing import draw
from lcframework.report.plots.jobs import KINDS

__all__ = ["KINDS", "draw"]
