"""The first panel: key numbers of a light curve's quality, each with its expected value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import attrs
import numpy as np
from markupsafe import Markup

from lcframework.project import Project
from lcframework.report import html
from lcframework.report.builtin_panels.shared import Fate, fates, group_name, number
from lcframework.report.results import Results
from lcframework.running.doubts import Cause
from lcframework.types import Severity


@attrs.frozen
class Tile:
    """One number: its name, its value and its interpretation."""

    what: str
    value: str
    good: bool
    more: str


@attrs.frozen
class Overview:
    """Frames found, used and eliminated, and the figures of merit of each step."""

    results: Results
    title: str = "Can it be believed?"

    def render(self, project: Project) -> str:
        """Return the panel."""
        found = fates(project, self.results)
        causes = project.doubts()
        tiles = [frames_tile(found), *self._tiles(), *_doubts_tile(causes)]
        items = Markup("").join(_tile(t) for t in tiles)
        look = list(dict.fromkeys(t.what for t in tiles if not t.good))
        if not self.results.light_curves:
            verdict = "There is no light curve yet; the figures are of the steps that were done."
        elif any(c.severity is Severity.SERIOUS for c in causes):
            verdict = "Not as it is: serious doubts speak against the numbers. The table below says what to do."
        elif look:
            verdict = f"Look closer at: {', '.join(look)}. The panels below show why."
        else:
            verdict = "Every figure is where it should be."
        counts = Counter((f.state, f.why) for f in found if f.state != "measured")
        reasons = Markup("")
        if counts:
            rows = [(state, why, str(n)) for (state, why), n in counts.most_common()]
            reasons = html.table(
                ("state", "why", "frames"), rows, "Frames that are not in the light curve", numeric=[2]
            )
        panel = html.paragraph(verdict) + Markup('<ul class="tiles">{}</ul>').format(items)
        return panel + _doubts_table(causes) + reasons

    def _tiles(self) -> Iterator[Tile]:
        r = self.results
        psf = np.array([p.chi2 for p in r.psfs if np.isfinite(p.chi2)])
        if psf.size:
            middle = float(np.median(psf))
            yield Tile(
                "PSF fits", f"χ² {middle:.2f}", 0.7 <= middle <= 1.3,
                f"median of {psf.size} frames; {number(float(psf.min()), 2)} to {number(float(psf.max()), 2)}",
            )  # fmt: skip
        ratios, pulls, bare, coefficients = [], [], [], []
        for curves in r.comparison:
            measured, expected, _ = curves.scatter()
            ratios.append((measured / expected)[[not c for c in curves.comment]])
            pulls.append(curves.pulls(intrinsic=True).ravel())
            bare.append(curves.pulls(intrinsic=False).ravel())
            coefficients.append(curves.coefficient_error / curves.coefficient)
        ratio, pull, photon, error = (_finite(values) for values in (ratios, pulls, bare, coefficients))
        if ratio.size:
            middle = float(np.median(ratio))
            yield Tile(
                "Comparison stars", f"{middle:.2f} × noise", middle <= 1.3,
                f"median scatter of {ratio.size} stars over what photon and read noise allow",
            )  # fmt: skip
        if pull.size > 1:
            width = float(np.std(pull))
            yield Tile(
                "Pulls of star fluxes", f"σ = {width:.2f}", 0.85 <= width <= 1.2,
                f"of {pull.size} fluxes, in units of their errors; {np.std(photon):.2f} without intrinsic scatter",
            )  # fmt: skip
        if error.size:
            middle, slow = float(np.median(error)), max((c.slow_scatter or 0.0 for c in r.coefficients), default=0.0)
            more = f"; stars change slowly by {1000 * slow:.1f} ppt beyond their errors" if slow else ""
            yield Tile(
                "Normalization", f"± {1000 * middle:.1f} ppt", middle < 0.02,
                f"median error of the coefficients of {error.size} frames{more}",
            )  # fmt: skip
        for z in r.zeropoints:
            where = group_name(z.instrument, z.band)
            value = f"{z.zeropoint:.3f} ± {z.zeropoint_uncertainty:.3f}"
            more = f"{where}: {z.stars} stars of {z.catalog}, {z.catalog_band} ({z.system})"
            yield Tile("Zero point", value, z.zeropoint_uncertainty < 0.05 and z.stars >= 3, more)
        for roi, curve in self.results.light_curves.items():
            chi2 = np.asarray(curve["reduced_chi2"], float)
            flagged = int(np.count_nonzero(np.asarray(curve["flags"])))
            middle = float(np.nanmedian(chi2))
            yield Tile(
                f"Model of {roi}", f"χ² {middle:.2f}", 0.7 <= middle <= 1.3 and flagged <= len(curve) / 4,
                f"median of {len(curve)} epochs; {flagged} carry a flag",
            )  # fmt: skip


def _doubts_tile(causes: Sequence[Cause]) -> Iterator[Tile]:
    """Yield a tile where something speaks against the numbers."""
    against = [c for c in causes if c.severity is not Severity.NOTE]
    if against:
        serious = sum(c.severity is Severity.SERIOUS for c in against)
        yield Tile("Doubts", str(len(against)), False, f"{serious} of them serious; the table below names them")


def _doubts_table(causes: Sequence[Cause]) -> Markup:
    if not causes:
        return Markup("")
    rows = [(c.severity.value, c.text, c.extent, c.remedy) for c in causes]
    return html.table(("how bad", "what", "where", "what to do"), rows, "What speaks against the numbers")


def frames_tile(found: list[Fate]) -> Tile:
    """Return the tile with the number of files that are used in a light curve."""
    states = Counter(f.state for f in found)
    measured = states.pop("measured", 0)
    rest = ", ".join(f"{n} {state}" for state, n in states.most_common())
    enough = bool(found) and measured >= 0.8 * len(found)
    return Tile("Frames", f"{measured} of {len(found)}", enough, "in the light curve" + (f"; {rest}" if rest else ""))


def _finite(values: list) -> np.ndarray:  # type: ignore[type-arg]
    joined = np.concatenate(values) if values else np.zeros(0)
    return joined[np.isfinite(joined)]


def _tile(tile: Tile) -> Markup:
    verdict = "as it should be" if tile.good else "look closer"
    return Markup(
        '<li class="{}"><span class="what">{}</span><span class="value">{}</span>'
        '<span class="more">{}. <span class="verdict">{}</span></span></li>'
    ).format("good" if tile.good else "look", tile.what, tile.value, tile.more, verdict.capitalize())
