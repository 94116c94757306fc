"""The light curves of each region, in magnitudes and in fluxes."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from astropy.timeseries import TimeSeries
from markupsafe import Markup

from lcframework.project import Project
from lcframework.report import html
from lcframework.report.builtin_panels.shared import (
    describe,
    epoch_flags,
    for_print,
    group_name,
    number,
    series_of,
)
from lcframework.report.charts import Row, points, rows_layout
from lcframework.report.results import Results
from lcframework.roi.cutout_files import FOLDER
from lcframework.roi.derived_columns import LIMIT_SIGMAS
from lcframework.types import Floats, source_names
from lcframework.types.arrays import plain_floats


@attrs.frozen
class LightCurves:
    """A chart and a table for each region."""

    results: Results
    title: str = "Light curves"

    def render(self, project: Project) -> str:
        """Return the panel."""
        curves = self.results.light_curves
        if not curves:
            return html.note("There is no light curve yet: `lcf run` ends with model_calibrated_cutouts.")
        return Markup("").join(self._region(project, roi, curve, len(curves) > 1) for roi, curve in curves.items())

    def _region(self, project: Project, roi: str, curve: TimeSeries, several: bool) -> Markup:
        names = source_names(curve.colnames)
        systems = sorted({z.system for z in self.results.zeropoints if z.system})
        charts = []
        if np.isfinite(np.asarray(curve["zeropoint"].value, float)).any():
            charts.append(("Magnitudes", self._chart(roi, curve, names, True, "/".join(systems))))
        charts.append(("Fluxes", self._chart(roi, curve, names, False, "")))
        caption = Markup(
            "Error bars are the whole random error of an epoch: of the fit, of the normalization, and the scatter that "
            "the comparison stars show beyond these. Outlined points carry a flag; triangles are upper limits of "
            "three sigma. Tables: "
            '<a href="../{0}/{1}_photometry_per_epoch.csv">each epoch</a>, '
            '<a href="../{0}/{1}_photometry_per_night.csv">each night</a>, '
            '<a href="../{0}/{1}_photometry_per_visit.csv">each visit</a>.{2}'
        ).format(FOLDER, roi, for_print(project, f"light_curves/{roi}.pdf"))
        heading = Markup("<h3>{}</h3>").format(roi) if several else Markup("")
        height = 130 + 165 * len(names)
        label = f"Light curves of the {len(names)} point sources of {roi}, {len(curve)} epochs"
        return heading + html.switched_charts(charts, label, caption, height) + self._table(roi, curve, names)

    def _chart(self, roi: str, curve: TimeSeries, names: list[str], magnitudes: bool, system: str) -> dict[str, Any]:
        series = series_of(self.results)
        groups = sorted({*zip(map(str, curve["instrument"]), map(str, curve["band"]), strict=True)})
        unit = (f"mag ({system})" if system else "mag") if magnitudes else "e⁻/s"
        traces: list[dict[str, Any]] = []
        for k, name in enumerate(names):
            for instrument, band in groups:
                of_group = curve[(curve["instrument"] == instrument) & (curve["band"] == band)]
                index = series.get((instrument, band), 0)
                make = self._magnitudes if magnitudes else self._fluxes
                made = make(of_group, name, index, group_name(instrument, band), k + 1, k == 0)
                traces += [trace | {"meta": [roi, name]} for trace in made]  # whose points they are
        options = {"autorange": "reversed"} if magnitudes else {}
        rows = [Row(f"<b>{name}</b>   {unit}", dict(options)) for name in names]
        return {"data": traces, "layout": rows_layout(rows, "MJD (UTC, mid-exposure)", 0.04)}

    def _hover(self, curve: TimeSeries, name: str) -> list[str]:
        flux, error = _column(curve, f"{name}_flux"), _column(curve, f"{name}_d_flux")
        mag = _column(curve, f"{name}_mag")
        up, down = _column(curve, f"{name}_d_mag_up"), _column(curve, f"{name}_d_mag_down")
        chi2, bjd = _column(curve, "reduced_chi2"), _column(curve, "bjd_tdb")
        out = []
        for i, frame_id in enumerate(curve["frame_id"]):
            flags = epoch_flags(int(curve["flags"][i]))
            lines = [
                f"{name}: {number(mag[i])} (+{number(down[i])} −{number(up[i])}) mag",
                f"{number(flux[i], 2)} ± {number(error[i], 2)} e⁻/s",
                f"χ² {number(chi2[i], 2)}   BJD_TDB {number(bjd[i], 5)}",
                f"flags: {flags}" if flags else "",
            ]
            frame = self.results.frames.get(int(frame_id))
            out.append(describe(frame, *lines) if frame else "<br>".join(lines))
        return out

    def _fluxes(
        self, curve: TimeSeries, name: str, index: int, group: str, row: int, legend: bool
    ) -> list[dict[str, Any]]:
        hollow = [bool(f) for f in curve["flags"]]
        flux, error = _column(curve, f"{name}_flux"), _column(curve, f"{name}_d_flux")
        return [
            points(
                _column(curve, "mjd"), flux, error=error, name=group, series=index, text=self._hover(curve, name),
                hollow=hollow, row=row, legend=legend, customdata=_column(curve, "frame_id"),
            )
        ]  # fmt: skip

    def _magnitudes(
        self, curve: TimeSeries, name: str, index: int, group: str, row: int, legend: bool
    ) -> list[dict[str, Any]]:
        mjd, hover, ids = _column(curve, "mjd"), self._hover(curve, name), _column(curve, "frame_id")
        limit = _column(curve, f"{name}_mag_limit")
        low = np.isfinite(limit)
        hollow = np.array([bool(f) for f in curve["flags"]])
        up, down = _column(curve, f"{name}_d_mag_up"), _column(curve, f"{name}_d_mag_down")
        traces = [
            points(
                mjd[~low], _column(curve, f"{name}_mag")[~low], error=down[~low], error_below=up[~low], name=group,
                series=index, text=[h for h, skip in zip(hover, low, strict=True) if not skip], hollow=hollow[~low],
                row=row, legend=legend, customdata=ids[~low],
            )
        ]  # fmt: skip
        if low.any():
            text = [f"{h}<br>upper limit, {LIMIT_SIGMAS:.0f} σ" for h, take in zip(hover, low, strict=True) if take]
            limits = points(mjd[low], limit[low], name=group, series=index, text=text, row=row, legend=False,
                            customdata=ids[low])  # fmt: skip
            limits["marker"] = {**limits["marker"], "symbol": "triangle-down-open", "size": 8}
            traces.append(limits)
        return traces

    def _table(self, roi: str, curve: TimeSeries, names: list[str]) -> Markup:
        rows = []
        groups = sorted({*zip(map(str, curve["instrument"]), map(str, curve["band"]), strict=True)})
        for name in names:
            for instrument, band in groups:
                of_group = curve[(curve["instrument"] == instrument) & (curve["band"] == band)]
                flux, error = _column(of_group, f"{name}_flux"), _column(of_group, f"{name}_d_flux")
                common = _column(of_group, f"{name}_d_flux_common")
                good = np.isfinite(flux) & np.isfinite(error)
                if not good.any():
                    continue
                mean = float(np.mean(flux[good]))
                zeropoint, system_error = _column(of_group, "zeropoint")[0], _column(of_group, "zeropoint_error")[0]
                mag = zeropoint - 2.5 * np.log10(mean) if mean > 0 else np.nan
                spread = float(np.std(flux[good], ddof=1)) if good.sum() > 1 else np.nan
                rows.append((
                    name, group_name(instrument, band), str(int(good.sum())), number(mean, 2), number(mag),
                    number(100 * float(np.median(error[good])) / mean, 2), number(100 * spread / mean, 2),
                    number(100 * float(np.nanmedian(common[good])) / mean, 2), number(system_error),
                ))  # fmt: skip
        columns = ("source", "instrument, band", "epochs", "mean flux e⁻/s", "mean mag", "random error %",
                   "spread %", "common error %", "zero point ± mag")  # fmt: skip
        caption = (
            f"{roi}: the random error (median) moves single epochs, the common one a source's whole curve, "
            "the zero point's everything"
        )
        return html.table(columns, rows, caption, numeric=range(2, 9))


def _column(curve: TimeSeries, name: str) -> Floats:
    return plain_floats(curve[name])
