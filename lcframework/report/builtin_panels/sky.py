"""What is where: a finding chart of each region, and the PSF over a frame."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
from markupsafe import Markup

from lcframework.project import Project
from lcframework.report import html
from lcframework.report.builtin_panels.shared import for_print, group_name, number
from lcframework.report.plots import finding_chart, psf_field
from lcframework.report.plots.jobs import chart_jobs
from lcframework.report.results import Results
from lcframework.storage.psf_files import read_psf
from lcframework.storage.tables import PsfRow

_GRID = 5


@attrs.frozen
class FindingCharts:
    """A chart of each region with its comparison stars, and the stars' places and magnitudes."""

    results: Results
    title: str = "Finding charts"

    def render(self, project: Project) -> str:
        """Return the panel; empty where no frame can be shown."""
        out = Markup("")
        for job in chart_jobs(project, self.results):
            payload = job.payload
            made = next(finding_chart.figures(project.workdir, payload))
            alt = (
                f"Finding chart of {payload.roi} with {len(payload.stars)} comparison stars, north up and east to the "
                "left; the table below has their places"
            )
            links = for_print(project, f"finding_charts/{payload.roi}.pdf")
            out += html.image(made, alt, "Comparison stars by name and magnitude, as far as there is room." + links)
            out += html.details("Places and magnitudes of these stars", self._table(payload))
        return out

    def _table(self, payload: finding_chart.Payload) -> Markup:
        known: dict[str, list[str]] = {}
        for row in self.results.magnitudes:
            if np.isfinite(row.mag):
                known.setdefault(row.gaia_id, []).append(f"{row.band} {row.mag:.3f} ({row.catalog})")
        rows = [
            (s.name, f"{s.ra:.6f}", f"{s.dec:+.6f}".replace("-", "−"), number(s.magnitude, 2),
             ", ".join(known.get(s.identifier, [])))
            for s in payload.stars
        ]  # fmt: skip
        columns = ("star", "RA (°)", "Dec (°)", "catalogue mag", "magnitudes of the calibration")
        return html.table(columns, rows, f"Comparison stars of {payload.roi} (ICRS)", numeric=(1, 2, 3))


@attrs.frozen
class PsfFields:
    """The PSF at a grid of positions, for the frame of typical seeing of each instrument and band."""

    results: Results
    title: str = "The PSF over the field"

    def render(self, project: Project) -> str:
        """Return the panel; empty where there is no PSF."""
        fields = list(self._fields(project))
        if not fields:
            return ""
        varying = [f.title for f in fields if f.varies]
        alt = "The PSF at a grid of positions in a frame of typical seeing, and its difference from the middle's: " + (
            f"it varies in {'; '.join(varying)}" if varying else "it is the same everywhere"
        )
        caption = (
            "For each instrument and band, the frame of median seeing: the PSF as its model has it at "
            f"{_GRID} × {_GRID} places of the frame, and what it differs by from the one in the middle. Where the "
            "model has one PSF for the whole frame, that one is shown."
        )
        return html.image(psf_field.draw(fields), alt, caption)

    def _fields(self, project: Project) -> Iterator[psf_field.Field]:
        groups: dict[tuple[str, str], list[tuple[float, int, PsfRow]]] = {}
        for row in self.results.psfs:
            frame = self.results.frames.get(row.frame_id)
            if frame is not None and not frame.eliminated and row.path and (project.workdir / row.path).exists():
                where = groups.setdefault((frame.instrument or "", frame.band or ""), [])
                where.append((frame.seeing_pixels or 0.0, row.frame_id, row))
        for (instrument, band), rows in sorted(groups.items()):
            tool = project.toolbox.tool("psf", instrument)
            if tool is None:
                continue
            _, frame_id, row = sorted(rows, key=lambda r: r[:2])[len(rows) // 2]
            psf = read_psf(project.workdir / row.path)
            if not all(psf.frame_shape):
                continue
            kernels = tool.ask("at", psf, psf_field.grid(psf.frame_shape, _GRID))
            title = f"{group_name(instrument, band)}   {self.results.frames[frame_id].key}"
            yield psf_field.field_of(title, psf, kernels)
