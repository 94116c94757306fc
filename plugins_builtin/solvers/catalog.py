"""The plate solver "catalog": matches the detections to the catalogue's stars around the region of interest."""

from __future__ import annotations

import math
from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import positive, whole_number
from lcframework.sky.geometry import separation, to_plane
from lcframework.types import NotSolved, PlateSolution, SolveHint, SourceTable
from plugins_builtin.astrometry.pattern_match import find_similarity
from plugins_builtin.astrometry.star_match import FEWEST_PAIRS, bright_sources, match_stars, positions, refine
from plugins_builtin.astrometry.wcs_fit import fit_wcs, open_wcs


@attrs.frozen
class CatalogMatch:
    """Solves by the patterns that bright stars form; any rotation and parity, without index files."""

    results_version: ClassVar[int] = 1
    needs_stars: ClassVar[bool] = True

    radius: float = attrs.field(default=180.0, validator=positive)  # arcsec around the ROI; at least the frame's extent
    max_sources: int = attrs.field(default=200, validator=positive)  # the brightest are compared
    max_order: int = attrs.field(default=3, validator=whole_number(1, 5))  # of the SIP distortion

    def solve(self, sources: SourceTable, shape: tuple[int, int], hint: SolveHint) -> PlateSolution | NotSolved:
        """Return the frame's WCS, or why none was found; `hint` must hold `ra`, `dec`, `scale` and `stars`."""
        if hint.stars is None or hint.ra is None or hint.dec is None or hint.scale is None:
            return NotSolved("a position, a pixel scale and catalogue stars are needed to match detections to stars")
        rows = bright_sources(sources, self.max_sources)
        if len(rows) < FEWEST_PAIRS:
            return NotSolved(f"{len(rows)} sources are too few to match with stars; see threshold in [sources.sep]")
        ra, dec, magnitude = (np.asarray(hint.stars[name], float) for name in ("ra", "dec", "magnitude"))
        reach = max(self.radius, math.hypot(*shape) * hint.scale[1])  # arcsec
        near = np.flatnonzero((separation(ra, dec, hint.ra, hint.dec) < reach) & np.isfinite(magnitude))
        near = near[np.argsort(magnitude[near], kind="stable")]
        if len(near) < FEWEST_PAIRS:
            return NotSolved(
                f"the catalogue has {len(near)} stars within {reach:.0f} arcsec of the ROI, too few; "
                "raise search_radius in [plate_solving] or choose a deeper catalogue in [stars]"
            )
        xy = positions(sources, rows)
        plane = np.stack(to_plane(ra[near], dec[near], hint.ra, hint.dec), axis=1)
        low, high = hint.scale
        area = shape[0] * shape[1] * low * high / (math.pi * reach**2)
        found = find_similarity(xy, plane, (1.0 / high, 1.0 / low), ratio_of_areas=1.0 / area)
        if found is None:
            return NotSolved(
                f"the brightest {len(rows)} sources form none of the patterns of {len(near)} catalogue stars; "
                "check pixel_scale and that the ROI is in the frame"
            )
        x, y = xy[found.first].T
        fit = fit_wcs(x, y, ra[near][found.second], dec[near][found.second], shape)
        if fit is None:
            return NotSolved("too few stars match to fit a WCS")
        rough = fit.solution()
        if not match_stars(open_wcs(rough.header), sources, hint.stars, shape, tolerance=3.0).significant:
            return NotSolved("the stars around the best pattern do not agree with it")
        return refine(rough, sources, hint.stars, shape, self.max_order)


@hookimpl
def lcf_plate_solvers() -> dict[str, type]:
    """Offer the plate solver ``catalog``."""
    return {"catalog": CatalogMatch}
