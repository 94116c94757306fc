"""The panel of the report: each region's periodograms, and a table of their peaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl

if TYPE_CHECKING:
    from astropy.table import Table

    from lcframework.project import Project

_MOST_POINTS = 4000  # of a curve in the page; the file has all


@attrs.frozen
class PeriodogramPanel:
    """Power against period; empty where the stage has made nothing."""

    title: ClassVar[str] = "Periodograms"

    def render(self, project: Project) -> str:
        """Return the panel as HTML."""
        from astropy.table import Table

        from lcframework.report import html
        from lcframework.report.charts import Row, rows_layout

        charts, rows = [], []
        for region in project.config.roi:
            file = project.workdir / "periodograms" / f"{region}.ecsv"
            if not file.is_file():
                continue
            table = Table.read(file, format="ascii.ecsv")
            peaks = table.meta["sources"]
            layout = rows_layout([Row("power", {"rangemode": "tozero"})], "period (d)")
            layout["xaxis"]["type"] = "log"
            traces = [_trace(table[table["source"] == source], source, k) for k, source in enumerate(peaks)]
            charts.append((region, {"data": traces, "layout": layout}))
            for source, peak in peaks.items():
                cells = [f"{peak['period']:.6g}", f"{peak['false_alarm']:.2g}", f"{100 * peak['amplitude']:.2f} %"]
                rows.append([f"{region} {source}", *cells, str(peak["epochs"])])
        if not charts:
            return ""
        caption = (
            "Lomb and Scargle, all instruments and bands together. The false-alarm probability (Baluev) is that of "
            "noise alone; nightly gaps give peaks at one day and its neighbours that are none."
        )
        chart = html.switched_charts(charts, "Periodogram", caption)
        columns = ["source", "period (d)", "false-alarm probability", "amplitude", "epochs"]
        return chart + html.table(columns, rows, "The highest peaks", numeric=(1, 2, 3, 4))


def _trace(table: Table, source: str, series: int) -> dict[str, object]:
    """Return a source's curve, thinned to its peaks."""
    from lcframework.report.charts import colour

    frequency, power = (np.asarray(table[name], float) for name in ("frequency", "power"))
    step = max(1, -(-len(power) // _MOST_POINTS))
    blocks = range(0, len(power), step)
    peaks = np.array([start + int(np.argmax(power[start : start + step])) for start in blocks])
    return {
        "type": "scatter", "mode": "lines", "name": source, "x": 1.0 / frequency[peaks], "y": power[peaks],
        "line": {"color": colour(series), "width": 1},
    }  # fmt: skip


@hookimpl
def lcf_report_panels() -> dict[str, type]:
    """Offer the panel."""
    return {"periodogram": PeriodogramPanel}
