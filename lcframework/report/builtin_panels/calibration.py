"""Calibration of frames to a common scale and position: transparency, zero point, registration."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from markupsafe import Markup

from lcframework.project import Project
from lcframework.report import html
from lcframework.report.builtin_panels.shared import describe, group_name, number, read_fits, series_of
from lcframework.report.charts import Row, line, points, rows_layout
from lcframework.report.results import Results
from lcframework.storage.tables import AbsoluteZeropoint


@attrs.frozen
class Transparency:
    """The normalization coefficient of each frame."""

    results: Results
    title: str = "Normalization"

    def render(self, project: Project) -> str:
        """Return the panel."""
        r = self.results
        if not r.coefficients:
            return html.note("No frame is normalised yet.")
        traces = []
        for (instrument, band), index in series_of(r).items():
            rows = [
                c for c in r.coefficients if (c.instrument, c.band) == (instrument, band) and c.frame_id in r.frames
            ]
            rows.sort(key=lambda c: r.frames[c.frame_id].mjd or 0.0)
            if not rows:
                continue
            text = [
                describe(
                    r.frames[c.frame_id],
                    f"coefficient {c.coefficient:.4f} ± {c.coefficient_uncertainty:.4f}",
                    f"{c.stars} stars, scatter {1e3 * c.scatter:.1f} ppt",
                )
                for c in rows
            ]
            mjd = np.array([r.frames[c.frame_id].mjd or np.nan for c in rows])
            values = np.array([c.coefficient for c in rows])
            errors = np.array([c.coefficient_uncertainty for c in rows])
            name = group_name(instrument, band)
            traces.append(points(mjd, values, error=errors, name=name, series=index, text=text))
            scatter = 1e3 * np.array([c.scatter for c in rows])
            traces.append(points(mjd, scatter, name=name, series=index, text=text, row=2, legend=False))
        layout = rows_layout(
            [Row("coefficient"), Row("scatter of stars (ppt)", {"rangemode": "tozero"})], "MJD (UTC, mid-exposure)"
        )
        layout["shapes"] = [line(1.0)]
        caption = (
            "Above: how bright the comparison stars are in a frame, relative to the first solution; the error is the "
            "coefficient's standard error and enters every epoch. Below: the relative scatter of the stars around it."
        )
        return html.chart(
            {"data": traces, "layout": layout},
            f"Normalization coefficients of {len(r.coefficients)} frames",
            caption,
            470,
        )


@attrs.frozen
class ZeroPoints:
    """The zero point of each group, and the stars from which it was fitted."""

    results: Results
    title: str = "Zero point"

    def render(self, project: Project) -> str:
        """Return the panel."""
        r = self.results
        if not r.zeropoints:
            return html.note("There is no zero point: light curves are in e⁻/s alone ([calibration] plugin).")
        series, traces, sentences, shapes = series_of(r), [], [], [line(0.0)]
        for z in r.zeropoints:
            trace = self._stars(z, series.get((z.instrument, z.band), 0))
            if trace is not None:
                traces.append(trace)
            colour = (
                f"; colour term {z.colour_term:.3f} ± {z.colour_term_uncertainty:.3f} of {z.colour}" if z.colour else ""
            )
            sentences.append(
                f"{group_name(z.instrument, z.band)}: {z.zeropoint:.4f} ± {z.zeropoint_uncertainty:.4f} mag "
                f"({z.system}), from {z.stars} stars of the survey “{z.catalog}”, {z.catalog_band}, scatter beyond "
                f"their errors {z.scatter:.3f} mag{colour}."
            )
        text = Markup("").join(html.paragraph(s) for s in sentences)
        if not traces:
            return text
        layout = rows_layout([Row("catalogue − measured (mag)")], "catalogue magnitude")
        layout["shapes"] = shapes
        caption = (
            "Each star's catalogue magnitude less the one that its level and the zero point give. The zero point's "
            "error moves all light curves together and is in no error bar."
        )
        return text + html.chart(
            {"data": traces, "layout": layout}, "Residuals of the zero point's stars against magnitude", caption, 340
        )

    def _stars(self, z: AbsoluteZeropoint, index: int) -> dict[str, Any] | None:
        r = self.results
        where = (z.combined_footprint_hash, z.instrument, z.band)
        catalogue = {m.gaia_id: m for m in r.magnitudes if (m.catalog, m.band) == (z.catalog, z.catalog_band)}
        x, y, error, text = [], [], [], []
        for level in r.levels:
            m, star = catalogue.get(level.gaia_id), r.stars.get((z.combined_footprint_hash, level.gaia_id))
            if (level.combined_footprint_hash, level.instrument, level.band) != where or m is None or level.level <= 0:
                continue
            term = z.colour_term * (m.colour - z.reference_colour) if m.colour is not None else 0.0
            residual = m.mag + 2.5 * np.log10(level.level) - z.zeropoint - term
            sigma = float(np.hypot(m.mag_err, 2.5 / np.log(10) * level.level_error / level.level))
            x.append(m.mag)
            y.append(residual)
            error.append(sigma)
            name = star.name if star else level.gaia_id
            text.append(
                f"<b>star {name}</b><br>{m.mag:.3f} ± {m.mag_err:.3f} mag<br>residual {number(residual)} ± {sigma:.3f}"
            )
        if not x:
            return None
        name = group_name(z.instrument, z.band)
        return points(np.array(x), np.array(y), error=np.array(error), name=name, series=index, text=text)


@attrs.frozen
class Registrations:
    """The offset of measured star positions from each frame's WCS, at the region."""

    results: Results
    title: str = "Astrometry and registration"

    def render(self, project: Project) -> str:
        """Return the panel."""
        series, traces, moved = series_of(self.results), [], []
        for roi, epochs, content in read_fits(project, self.results):
            name = f"{roi} {group_name(content.instrument, content.band)}"
            index = series.get((content.instrument, content.band), 0)
            c = epochs.cutouts
            sigma = np.sqrt(np.stack([c.registration_covariance[:, a, a] for a in (0, 1)]))
            beyond = content.fit.translation
            moved.append(np.abs(beyond).ravel())
            text = [
                describe(
                    self.results.frames[int(i)],
                    f"stars − WCS: {d[0]:+.3f}, {d[1]:+.3f} pixels",
                    f"region beyond the stars: {t[0]:+.4f}, {t[1]:+.4f} pixels",
                )
                for i, d, t in zip(epochs.columns["frame_id"], epochs.registration, beyond, strict=True)
            ]
            for a in (0, 1):
                traces.append(
                    points(
                        c.mjd, epochs.registration[:, a], error=sigma[a], name=f"{name}, {'xy'[a]}", text=text,
                        series=index + 3 * a, row=1,
                    )
                )  # fmt: skip
                traces.append(
                    points(
                        c.mjd,
                        beyond[:, a],
                        name=f"{name}, {'xy'[a]}",
                        text=text,
                        series=index + 3 * a,
                        row=2,
                        legend=False,
                    )
                )
        solved = self._solutions()
        if not traces:
            return solved
        rows = [Row("stars − WCS (pixels)"), Row("region − stars (pixels)")]
        layout = rows_layout(rows, "MJD (UTC, mid-exposure)")
        layout["shapes"] = [line(0.0), line(0.0, 2)]
        typical = float(np.median(np.concatenate(moved)))
        caption = (
            "Above: the offset between the measured stars and the WCS, at the region of interest; it is applied to "
            "each epoch. Below: what the region's own fit moved each epoch beyond that "
            f"(median {typical:.4f} pixels); differential refraction and errors of the registration show here."
        )
        return (
            html.chart({"data": traces, "layout": layout}, "Registration offsets of each epoch", caption, 480) + solved
        )

    def _solutions(self) -> Markup:
        frames = [f for f in self.results.frames.values() if f.plate_solved]
        if not frames:
            return Markup("")
        by_solver: dict[str, list[Any]] = {}
        for f in frames:
            by_solver.setdefault(f.solver or "unknown", []).append(f)
        rows = []
        for solver, of_solver in sorted(by_solver.items()):
            rms = [f.wcs_rms_pixels for f in of_solver if f.wcs_rms_pixels is not None]
            matched = [f.wcs_matched for f in of_solver if f.wcs_matched]
            scale = [f.pixel_scale for f in of_solver if f.pixel_scale is not None]
            rows.append((
                solver, str(len(of_solver)), number(float(np.median(rms)), 3) if rms else None,
                number(float(np.median(matched)), 0) if matched else None,
                number(float(np.median(scale)), 5) if scale else None,
            ))  # fmt: skip
        columns = ("solver", "frames", "median rms (pixels)", "median stars matched", "median scale (arcsec/pixel)")
        return html.table(columns, rows, "Who solved the frames", numeric=range(1, 5))
