"""The plate solver "reference-frame": transfers a solved frame's WCS by the sources that both frames show."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import positive, whole_number
from lcframework.types import NotSolved, PlateSolution, SolveHint, SourceTable
from plugins_builtin.astrometry.pattern_match import find_similarity
from plugins_builtin.astrometry.star_match import FEWEST_PAIRS, bright_sources, mutual_nearest, positions, refine
from plugins_builtin.astrometry.wcs_fit import InvalidWcs, celestial_keywords, fit_wcs, open_wcs


@attrs.frozen
class ReferenceFrame:
    """Solves by a frame of the same instrument that is solved already; any shift and rotation."""

    results_version: ClassVar[int] = 1
    needs_reference: ClassVar[bool] = True
    needs_position: ClassVar[bool] = False

    frame: str = ""  # a file name; empty: the best solved frame
    max_sources: int = attrs.field(default=200, validator=positive)  # the brightest are compared
    max_order: int = attrs.field(default=3, validator=whole_number(1, 5))  # of the SIP distortion

    def solve(self, sources: SourceTable, shape: tuple[int, int], hint: SolveHint) -> PlateSolution | NotSolved:
        """Return the frame's WCS, or why none was found.

        `hint` must hold `reference_sources` and `reference_wcs`; with `stars`, the WCS is fitted again to these.
        """
        if hint.reference_sources is None or hint.reference_wcs is None:
            return NotSolved("no other frame is solved yet: put another solver before it in [plate_solving] plugin")
        here, there = (bright_sources(t, self.max_sources) for t in (sources, hint.reference_sources))
        if min(len(here), len(there)) < FEWEST_PAIRS:
            return NotSolved(f"{len(here)} sources here and {len(there)} in the reference are too few to compare")
        xy, reference = positions(sources, here), positions(hint.reference_sources, there)
        found = find_similarity(xy, reference, (0.97, 1.03))
        if found is None:
            return NotSolved(
                f"the brightest {len(here)} sources form none of the patterns of the reference frame's: "
                "do the two frames overlap, and are they of one instrument?"
            )
        try:
            wcs = open_wcs(celestial_keywords(hint.reference_wcs))
        except InvalidWcs as error:
            return NotSolved(f"the reference frame's WCS is not valid: {error}")
        # The overlap may hold fainter sources than those that made the patterns.
        rows = bright_sources(sources), bright_sources(hint.reference_sources)
        xy, reference = positions(sources, rows[0]), positions(hint.reference_sources, rows[1])
        i, j = mutual_nearest(xy, found(reference), 2.0)
        ra, dec = wcs.all_pix2world(*reference[j].T, 0)
        good = np.isfinite(ra) & np.isfinite(dec)
        x, y = xy[i][good].T
        fit = fit_wcs(x, y, ra[good], dec[good], shape, self.max_order)
        if fit is None or fit.used.sum() < FEWEST_PAIRS:
            return NotSolved("too few sources of the reference frame are seen here to fit a WCS")
        solution = fit.solution()
        return solution if hint.stars is None else refine(solution, sources, hint.stars, shape, self.max_order)


@hookimpl
def lcf_plate_solvers() -> dict[str, type]:
    """Offer the plate solver ``reference-frame``."""
    return {"reference-frame": ReferenceFrame}
