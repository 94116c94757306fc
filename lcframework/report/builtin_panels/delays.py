"""Time delays by hand: each image's curve is shifted in time and magnitude until it lies on another's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
from astropy.table import Table
from astropy.timeseries import TimeSeries
from markupsafe import Markup

from lcframework.project import Project
from lcframework.report import html
from lcframework.report.builtin_panels.shared import group_name
from lcframework.report.results import Results
from lcframework.roi.derived_columns import POGSON
from lcframework.roi.light_curves import LOW_SIGNAL, per_visit
from lcframework.types import Floats, source_names
from lcframework.types.arrays import plain_floats

_BJD = 2400000.5  # of MJD 0
#: The reference's curve is smoothed over so many of its typical steps in time: over more, its bends are lost.
_STEPS = 1.0
_FEWEST = 3  # points of a source

_FORM = Path(__file__).parents[1] / "templates" / "delays.html"


@attrs.frozen
class TimeDelays:
    """A tool for each region of several point sources."""

    results: Results
    title: str = "Time delays by hand"

    def render(self, project: Project) -> str:
        """Return the panel; empty where no region has two point sources with a light curve."""
        out = Markup("")
        for k, (roi, curve) in enumerate(self.results.light_curves.items()):
            data = delay_data(roi, curve)
            if len(data["sources"]) > 1 and data["groups"]:
                out += self._tool(roi, data, f"delays-{k}")
        return out

    @staticmethod
    def _tool(roi: str, data: dict[str, Any], identifier: str) -> Markup:
        options = [
            Markup("").join(Markup('<option value="{}">{}</option>').format(i, n) for i, n in enumerate(names))
            for names in (data["sources"], [g["name"] for g in data["groups"]])
        ]
        form = Markup(_FORM.read_text(encoding="utf-8")).format(
            sources=options[0], groups=options[1], roi=roi, id=identifier, data=html.embedded(data),
            label=f"Light curves of {roi}, shifted by the delays in the table below",
        )  # fmt: skip
        caption = Markup(
            '<span id="{}-keys">Drag a curve with the mouse, or with the plot in focus: left and right shift the '
            "chosen image in time, up and down in magnitude, with Shift ten times as far; N chooses the next image."
            "</span> A delay of 5 days means that the image shows five days later what the reference shows; a shift "
            "is by how much it is fainter. Both are taken off before it is drawn. Delays are common to all bands, "
            "shifts are each band's own."
        ).format(identifier)
        return html.captioned(form, caption)


def delay_data(roi: str, curve: TimeSeries) -> dict[str, Any]:
    """Return what the page's script needs: magnitudes of epochs and of visits, by instrument and band, and source.

    Where there is no zero point, magnitudes are those of 1 e-/s. Points below three sigma are left out.
    """
    table = Table({name: np.asarray(getattr(curve[name], "value", curve[name])) for name in curve.colnames[1:]})
    names = source_names(table.colnames)
    barycentric = bool(np.isfinite(np.asarray(table["bjd_tdb"], float)).all())
    tables = {"epochs": table, "visits": per_visit(table, names)}
    groups = []
    for instrument, band in sorted({*zip(map(str, table["instrument"]), map(str, table["band"]), strict=True)}):
        group: dict[str, Any] = {"name": group_name(instrument, band)}
        for kind, rows in tables.items():
            mine = rows[(rows["instrument"] == instrument) & (rows["band"] == band)]
            group[kind] = [_points(mine, name, barycentric) for name in names]
        if sum(len(p["t"]) >= _FEWEST for p in group["epochs"]) > 1:
            groups.append(group)
    axis = "BJD_TDB − 2400000.5 (days)" if barycentric else "MJD (UTC, days)"
    return {"roi": roi, "sources": names, "axis": axis, "smoothing": _smoothing(groups), "groups": groups}


def _points(table: Table, name: str, barycentric: bool) -> dict[str, Floats]:
    """Return times (days), magnitudes and their errors, in the order of time."""
    time = np.asarray(table["bjd_tdb"], float) - _BJD if barycentric else np.asarray(table["mjd"], float)
    flux, error = (plain_floats(table[f"{name}_{c}"]) for c in ("flux", "d_flux"))
    zeropoint = np.nan_to_num(np.asarray(table["zeropoint"], float))
    good = np.flatnonzero((flux >= LOW_SIGNAL * error) & (error > 0) & np.isfinite(time))
    good = good[np.argsort(time[good], kind="stable")]
    return {
        "t": np.round(time[good], 5), "m": np.round(zeropoint[good] - POGSON * np.log(flux[good]), 5),
        "e": np.round(POGSON * error[good] / flux[good], 5),
    }  # fmt: skip


def _smoothing(groups: list[dict[str, Any]]) -> dict[str, float]:
    """Return the first choice of the smoothing time for epochs and for visits, days."""
    out = {}
    for kind in ("epochs", "visits"):
        steps = [np.diff(p["t"]) for g in groups for p in g[kind] if len(p["t"]) > 1]
        typical = float(np.median(np.concatenate(steps))) if steps else 1.0
        out[kind] = float(f"{_STEPS * max(typical, 1e-3):.2g}")
    return out
