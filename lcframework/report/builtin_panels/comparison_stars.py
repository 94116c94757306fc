"""Comparison stars: their scatter against the noise, and the pulls of their fluxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
from markupsafe import Markup

from lcframework.project import Project
from lcframework.report import html
from lcframework.report.builtin_panels.shared import for_print, group_name, number, series_of
from lcframework.report.charts import Row, colour, histogram, points, rows_layout
from lcframework.report.comparison import ComparisonStars
from lcframework.report.plots import footprints
from lcframework.report.plots.jobs import footprint_jobs, group_stem
from lcframework.report.results import Results
from lcframework.stars.known_variables import variable_name
from lcframework.types import Floats

_REACH = 5.0
_TICKS = [m * 10.0**k for k in range(-1, 4) for m in (1, 2, 5)]


@attrs.frozen
class ComparisonScatter:
    """Scatter against magnitude, pulls as a histogram and as a map of frames and stars, and a sky map of the stars."""

    results: Results
    title: str = "Comparison stars"

    def render(self, project: Project) -> str:
        """Return the panel."""
        groups = [c for c in self.results.comparison if c.star_ids]
        if not groups:
            return html.note("No star has been measured and normalised yet.")
        curves = for_print(project, *(f"normalization/{group_stem(self.results, c)}.pdf" for c in groups))
        lead = html.paragraph(
            "Stars do not vary: what scatter is left in their normalised fluxes, and whether their stated errors "
            "explain it, is what a light curve of this field can be trusted to." + curves
        )
        pair = Markup('<div class="pair">{}{}</div>').format(self._scatter(groups), self._pulls(groups))
        maps = Markup("").join(self._map(c, len(groups) > 1) for c in groups)
        table = self._table(groups, project.sequence_names())
        return lead + pair + self._estimators() + maps + table + self._variables() + self._where(project)

    def _variables(self) -> Markup:
        """Return the reference stars that a catalogue of variable stars knows, whether they are measured or not."""
        rows = [(r.name, known) for r in self.results.records.values() if (known := variable_name(r.note))]
        return html.table(("star", "is"), rows, "Known variables among the reference stars") if rows else Markup("")

    def _estimators(self) -> Markup:
        """Return which estimates the stars chose, and what held-out frames said of them."""
        if not self.results.estimators:
            return Markup("")
        rows = []
        for found in self.results.estimators:
            scores = [
                " / ".join(number(v, 2) for v in found.held_out[way]) if way in found.held_out else ""
                for way in ("psf", "best_single", "combination")
            ]
            rows.append((group_name(found.instrument, found.band), found.note, str(found.stars), str(found.frames),
                         *scores, number(found.noise_factor, 2), number(1e3 * found.scatter, 2)))  # fmt: skip
        columns = ("instrument, band", "fluxes", "stars", "frames", "PSF ppt", "best single ppt", "combination ppt",
                   "noise factor", "beyond noise ppt")  # fmt: skip
        lead = html.paragraph(
            "How the stars chose to be measured, by their scatter on frames that took no part in the choice (typical "
            "star of the bright half / of the faint half); regions are measured alike where their sources stand alone."
        )
        return lead + html.table(columns, rows, "Flux estimates", numeric=range(2, 9))

    def _scatter(self, groups: list[ComparisonStars]) -> Markup:
        series, traces, ratios = series_of(self.results), [], []
        for curves in groups:
            index, name = series.get((curves.instrument, curves.band), 0), group_name(curves.instrument, curves.band)
            measured, expected, count = curves.scatter()
            ratios.append((measured / expected)[[not c for c in curves.comment]])
            order = np.argsort(curves.magnitude)
            text = [
                f"<b>star {n}</b>   {m:.2f} mag<br>measured {1e3 * a:.2f} ppt<br>noise {1e3 * b:.2f} ppt"
                f"<br>{k} frames{'<br>left out: ' + why if why else ''}"
                for n, m, a, b, k, why in zip(
                    curves.names, curves.magnitude, measured, expected, count, curves.comment, strict=True
                )
            ]
            # The scatter of n values is itself uncertain by 1 / sqrt(2 (n - 1)).
            error = 1e3 * measured / np.sqrt(2.0 * np.maximum(count - 1, 1))
            traces.append(
                points(
                    curves.magnitude, 1e3 * measured, error=error, name=name, series=index, text=text,
                    hollow=[bool(c) for c in curves.comment],
                )
            )  # fmt: skip
            lower = {"type": "scatter", "mode": "lines", "x": curves.magnitude[order], "hoverinfo": "skip",
                     "showlegend": len(traces) == 1}  # fmt: skip
            traces.append(
                lower | {"y": 1e3 * expected[order], "name": "noise", "line": {"color": colour(index), "width": 1.5}}
            )
            ceiling = 1e3 * (1.2 * expected[order] + 1e-3)
            dashes = {"color": "@muted", "width": 1, "dash": "dot"}
            traces.append(lower | {"y": ceiling, "name": "1.2 × noise + 1 ppt", "line": dashes})
        layout = rows_layout([Row("scatter (ppt)", {"type": "log", "tickvals": _TICKS})], "catalogue magnitude")
        ratio = np.concatenate(ratios)
        ratio = ratio[np.isfinite(ratio)]
        worth = f"The median star scatters {np.median(ratio):.2f} times as much as its noise. " if ratio.size else ""
        caption = (
            worth + "Points: rms of a star's normalised flux; solid line: what photon, sky and read noise leave, from "
            "the photometry's own errors. Points on the line are at the photon limit."
        )
        return html.chart(
            {"data": traces, "layout": layout}, "Scatter of the comparison stars against their magnitude", caption, 380
        )

    def _pulls(self, groups: list[ComparisonStars]) -> Markup:
        bare = np.concatenate([c.pulls(intrinsic=False).ravel() for c in groups])
        full = np.concatenate([c.pulls(intrinsic=True).ravel() for c in groups])
        bare, full = bare[np.isfinite(bare)], full[np.isfinite(full)]
        if bare.size < 2:
            return html.note("There are too few star fluxes for a histogram of pulls.")
        bins = int(np.clip(np.sqrt(bare.size), 15, 50))
        middles, density, width = histogram(bare, -_REACH, _REACH, bins)
        x = np.linspace(-_REACH, _REACH, 201)
        traces: list[dict[str, Any]] = [
            {"type": "bar", "x": middles, "y": density, "width": width, "name": "stated errors",
             "marker": {"color": "@c0", "opacity": 0.75}, "hovertemplate": "%{x:.2f}<extra></extra>"},
            {"type": "scatter", "mode": "lines", "x": x, "y": np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi),
             "name": "unit Gaussian", "line": {"color": "@c1", "width": 2}, "hoverinfo": "skip"},
        ]  # fmt: skip
        middles, density, _ = histogram(full, -_REACH, _REACH, bins)
        traces.append(
            {"type": "scatter", "mode": "lines", "x": middles, "y": density, "name": "with intrinsic scatter",
             "line": {"color": "@muted", "width": 1.5, "shape": "hvh"}, "hoverinfo": "skip"}
        )  # fmt: skip
        layout = rows_layout([Row("density")], "(flux − expected) / error")
        layout["bargap"] = 0
        caption = Markup(
            "Pulls of {} fluxes: standard deviation <b>{}</b> with the photometry's errors alone, <b>{}</b> with each "
            "star's fitted intrinsic scatter added (1 if errors are right). A star's own weight in the solution is "
            "accounted for. The end bins hold what lies beyond."
        ).format(bare.size, number(float(np.std(bare)), 2), number(float(np.std(full)), 2))
        return html.chart(
            {"data": traces, "layout": layout}, "Histogram of the pulls beside a unit Gaussian", caption, 380
        )

    def _map(self, curves: ComparisonStars, several: bool) -> Markup:
        """Return the pulls as colours: a bad frame is a column, a bad star a row."""
        order = sorted(range(len(curves.names)), key=lambda j: (len(curves.names[j]), curves.names[j]), reverse=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            pulls = curves.residual / (curves.error * np.sqrt(np.maximum(curves.freedom, 0.05)))
        frames = [self.results.frames[i] for i in curves.frame_ids]
        names = [curves.names[j] for j in order]
        text = [
            [
                f"{f.key}<br>star {curves.names[j]}: {_percent(curves.residual[i, j])}, pull {number(pulls[i, j], 1)}"
                for i, f in enumerate(frames)
            ]
            for j in order
        ]
        trace = {
            "type": "heatmap", "z": np.clip(pulls[:, order].T, -_REACH, _REACH), "y": names, "zmin": -_REACH,
            "zmax": _REACH, "text": text, "hovertemplate": "%{text}<extra></extra>", "ygap": 1,
            "xgap": 1 if len(frames) < 60 else 0,
            "colorscale": [[0, "#2166ac"], [0.3, "#92c5de"], [0.5, "#f7f7f7"], [0.7, "#f4a582"], [1, "#b2182b"]],
            "colorbar": {"title": {"text": "pull"}, "thickness": 12, "outlinewidth": 0},
        }  # fmt: skip
        layout = rows_layout([Row("star", {"type": "category", "showgrid": False})], "frame, by time")
        layout["xaxis"] |= {"showgrid": False, "tickformat": "d", "tick0": 0, "dtick": max(1, -(-len(frames) // 12))}
        where = f" of {group_name(curves.instrument, curves.band)}" if several else ""
        caption = f"Pulls{where}: a frame that does not fit is a coloured column, a star that varies a coloured row."
        label = f"Pulls of {len(names)} stars in {len(frames)} frames"
        return html.chart({"data": [trace], "layout": layout}, label, caption, 150 + 17 * max(6, len(names)))

    def _table(self, groups: list[ComparisonStars], charted: Mapping[str, str]) -> Markup:
        rows = []
        for curves in groups:
            measured, expected, count = curves.scatter()
            for j in sorted(range(len(curves.names)), key=lambda j: (len(curves.names[j]), curves.names[j])):
                record = self.results.records.get((curves.field, curves.star_ids[j]))
                rows.append((
                    _called(curves.names[j], charted.get(curves.star_ids[j], "")),
                    group_name(curves.instrument, curves.band), number(curves.magnitude[j], 2),
                    number(curves.level[j], 2), str(count[j]), number(1e3 * measured[j], 2),
                    number(1e3 * expected[j], 2), number(1e3 * curves.intrinsic[j], 2),
                    record.trouble if record else curves.comment[j],
                ))  # fmt: skip
        columns = ("star", "instrument, band", "magnitude", "level e⁻/s", "frames", "scatter ppt", "noise ppt",
                   "intrinsic ppt", "what speaks against it")  # fmt: skip
        return html.table(columns, rows, "Comparison stars", numeric=range(2, 8), sortable=True)

    def _where(self, project: Project) -> Markup:
        jobs = list(footprint_jobs(project, self.results))
        if not jobs:
            return Markup("")
        drawn = footprints.draw(jobs[-1].payload)
        return html.details(
            "Where the stars and the frames are", html.image(drawn, "Map of the frames' outlines and reference stars")
        )


def _called(letter: str, charted: str) -> str:
    """Return a star's letter, and what the AAVSO's chart calls it, where it is on it."""
    return f"{letter} ({charted})" if charted else letter


def _percent(value: Floats) -> str:
    return number(100 * float(value), 2, " %")
