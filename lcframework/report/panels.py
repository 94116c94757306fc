"""The protocol of the report's panels, and the built-in panels.

A plugin adds panels through the hook ``lcf_report_panels``: classes that are called without arguments and implement
:class:`Panel`. :mod:`lcframework.report.html` and :mod:`lcframework.report.charts` help to write them.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from lcframework.project import Project
from lcframework.report.results import Results


@runtime_checkable
class Panel(Protocol):
    """One section of the report."""

    @property
    def title(self) -> str:
        """The section's heading."""

    def render(self, project: Project) -> str:
        """Return the section's contents, a fragment of HTML; empty: the section is left out."""


def builtin_panels(results: Results) -> list[Panel]:
    """Return the built-in panels in their order."""
    from lcframework.report import builtin_panels as b

    return [
        b.Overview(results),
        b.LightCurves(results),
        b.Ancestries(results),
        b.RegionPictures(results),
        b.TimeDelays(results),
        b.FindingCharts(results),
        b.Injections(results),
        b.ComparisonScatter(results),
        b.Transparency(results),
        b.Conditions(results),
        b.FitQuality(results),
        b.PsfFields(results),
        b.ZeroPoints(results),
        b.Registrations(results),
        b.RoiModels(results),
        b.Frames(results),
        b.Unusable(results),
        b.HowItWasMade(results),
    ]
