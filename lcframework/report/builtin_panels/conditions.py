"""Observing conditions, and the quality of fits."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from lcframework.project import Project
from lcframework.report import html
from lcframework.report.builtin_panels.shared import describe, group_name, number, series_of
from lcframework.report.charts import Row, line, points, rows_layout
from lcframework.report.results import Results
from lcframework.storage.tables import Frame


@attrs.frozen
class Conditions:
    """Seeing, sky and airmass against time."""

    results: Results
    title: str = "Observing conditions"

    def render(self, project: Project) -> str:
        """Return the panel."""
        frames = [f for f in self.results.frames.values() if f.mjd is not None]
        if not frames:
            return html.note("No frame is imported yet.")
        airmass: dict[int, float] = {}
        for row in self.results.rois:
            if row.airmass is not None:
                airmass.setdefault(row.frame_id, row.airmass)
        in_arcsec = any(f.seeing_arcseconds is not None for f in frames)
        traces: list[dict[str, Any]] = []
        for (instrument, band), index in series_of(self.results).items():
            of_group = sorted(
                (f for f in frames if (f.instrument, f.band) == (instrument, band)), key=lambda f: f.mjd or 0
            )
            traces += self._group(of_group, index, group_name(instrument, band), in_arcsec, airmass)
        rows = [
            Row("seeing (arcsec)" if in_arcsec else "seeing (pixels)", {"rangemode": "tozero"}),
            Row("sky (e⁻/s/pixel)"),
            Row("airmass"),
        ]
        layout = rows_layout(rows if airmass else rows[:2], "MJD (UTC, mid-exposure)")
        caption = "Outlined points are frames that are eliminated or contain no region of interest."
        return html.chart(
            {"data": traces, "layout": layout}, f"Seeing, sky and airmass of {len(frames)} frames", caption, 560
        )

    def _group(
        self, frames: list[Frame], index: int, name: str, in_arcsec: bool, airmass: dict[int, float]
    ) -> list[dict[str, Any]]:
        mjd = np.array([f.mjd for f in frames], float)
        hollow = [f.eliminated or not f.roi_in_footprint for f in frames]
        sky = [f.sky_level_electron_per_second for f in frames]
        seeing = [f.seeing_arcseconds if in_arcsec else f.seeing_pixels for f in frames]
        text = [
            describe(
                f,
                f"sky {number(f.sky_level_electron_per_second, 3)} e⁻/s, "
                f"rms {number(f.background_rms_electron_per_second, 3)}",
                f"airmass {number(airmass.get(f.id or 0), 3)}",
                f.comment[:90],
            )
            for f in frames
        ]
        columns = [seeing, sky] + ([[airmass.get(f.id or 0) for f in frames]] if airmass else [])
        return [
            points(
                mjd, np.array([np.nan if v is None else v for v in column], float), name=name, series=index, text=text,
                hollow=hollow, row=k + 1, legend=k == 0,
            )
            for k, column in enumerate(columns)
        ]  # fmt: skip


@attrs.frozen
class FitQuality:
    """Reduced chi2 of each frame's PSF and of each epoch's model."""

    results: Results
    title: str = "Do the fits describe the pixels?"

    def render(self, project: Project) -> str:
        """Return the panel."""
        r = self.results
        if not r.psfs:
            return html.note("No PSF is fitted yet.")
        series, traces = series_of(r), []
        for (instrument, band), index in series.items():
            rows = [p for p in r.psfs if p.frame_id in r.frames]
            rows = [
                p for p in rows if (r.frames[p.frame_id].instrument, r.frames[p.frame_id].band) == (instrument, band)
            ]
            rows.sort(key=lambda p: r.frames[p.frame_id].mjd or 0.0)
            if rows:
                text = [
                    describe(
                        r.frames[p.frame_id], f"PSF χ² {p.chi2:.3f}, {p.status} ({p.evaluations} evaluations)",
                        f"stars {p.stars}", p.comment,
                    )
                    for p in rows
                ]  # fmt: skip
                mjd = np.array([r.frames[p.frame_id].mjd or np.nan for p in rows])
                chi2 = np.array([p.chi2 for p in rows])
                hollow = [p.status != "converged" for p in rows]
                name = group_name(instrument, band)
                traces.append(points(mjd, chi2, name=name, series=index, text=text, hollow=hollow))
        curves = self.results.light_curves
        for roi, curve in curves.items():
            keys = [*zip(map(str, curve["instrument"]), map(str, curve["band"]), strict=True)]
            for group in sorted(set(keys)):
                of_group = curve[np.array([k == group for k in keys])]
                chi2 = np.asarray(of_group["reduced_chi2"], float)
                text = [
                    describe(r.frames[int(i)], f"{roi}: χ² {c:.3f}")
                    for i, c in zip(of_group["frame_id"], chi2, strict=True)
                    if int(i) in r.frames
                ]
                mjd = np.asarray(of_group["mjd"].value, float)
                traces.append(
                    points(
                        mjd, chi2, name=group_name(*group), series=series.get(group, 0), text=text, row=2, legend=False
                    )
                )
        axes = [Row("PSF, reduced χ²"), Row("region, reduced χ²")]
        layout = rows_layout(axes if curves else axes[:1], "MJD (UTC, mid-exposure)")
        layout["shapes"] = [line(1.0), *([line(1.0, 2)] if curves else [])]
        unfinished = sum(p.status != "converged" for p in r.psfs)
        caption = (
            "Near 1, model and noise maps agree with the pixels. Above, the model or the noise map is wrong; a little "
            f"below, the PSF follows the brightest stars' noise. {len(r.psfs) - unfinished} of {len(r.psfs)} PSF fits "
            "converged (outlined: those that did not)."
        )
        return html.chart({"data": traces, "layout": layout}, "Reduced chi-squared of PSFs and epochs", caption, 470)
