"""A panel of the report for lcframework."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lcframework.hookspecs import hookimpl

if TYPE_CHECKING:
    from lcframework import Project


class PluginClass:
    """The number of epochs of each region; it is made without arguments."""

    title = "PluginClass"  # CHECK: the section's heading

    def render(self, project: Project) -> str:
        """Return a fragment of HTML; an empty text leaves the section out."""
        from lcframework.report import html  # escapes texts; `html.chart` draws Plotly's figures
        from lcframework.types import LcfError

        # CHECK: replace this by your own table or chart.
        rows = []
        for roi in project.config.roi:
            try:
                table = project.light_curve_table(roi)
            except LcfError:  # there is none yet
                continue
            rows.append((roi, str(len(table)), ", ".join(sorted(set(table["band"])))))
        return html.table(("region", "epochs", "bands"), rows, "Epochs by region", numeric=(1,)) if rows else ""


@hookimpl
def lcf_report_panels() -> dict[str, type]:
    """Offer the panel; it comes after the built-in ones."""
    return {"plugin_name": PluginClass}
