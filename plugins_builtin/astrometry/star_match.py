"""Pairs sources with catalogue stars, given a WCS that is nearly right."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np

from lcframework.types import Floats, Ints, PlateSolution, SourceTable, StarTable
from plugins_builtin.astrometry.wcs_fit import fit_wcs, open_wcs, stars_in_frame
from plugins_builtin.shared.sharpness import sharpest_star

#: Fewest pairs by which a match is judged.
FEWEST_PAIRS = 5
#: Of the frame's sources, how many of the brightest are compared with the catalogue.
BRIGHTEST = 500


@attrs.frozen(eq=False)
class Match:
    """Sources and stars that belong together."""

    source: Ints  # (n,) rows of the source table
    star: Ints  # (n,) rows of the star table
    shift: Floats  # (2,) pixels by which the sources lie off the stars' predicted positions
    rms: float  # pixels, of the distances after that shift
    by_chance: float  # pairs to be expected if sources and stars had nothing to do with each other

    @property
    def significant(self) -> bool:
        """Whether so many pairs can't be chance."""
        return len(self.source) >= max(FEWEST_PAIRS, self.by_chance + 5.0 * math.sqrt(self.by_chance + 1.0))


def bright_sources(sources: SourceTable, number: int = BRIGHTEST) -> Ints:
    """Return rows of the brightest sources that can be stars, brightest first.

    Hot pixels and cosmic rays, much sharper than the frame's bright sources, are left out.
    """
    flux, fwhm = np.asarray(sources["flux"], float), np.asarray(sources["fwhm"], float)
    rows = np.flatnonzero(np.isfinite(flux) & (flux > 0) & np.isfinite(sources["x"]) & np.isfinite(sources["y"]))
    if len(rows) >= 10:
        stellar = rows[~(fwhm[rows] < sharpest_star(fwhm[rows], flux[rows]))]
        rows = stellar if len(stellar) >= 5 else rows
    return rows[np.argsort(-flux[rows], kind="stable")][:number]


def positions(table: SourceTable, rows: Ints) -> Floats:
    """Return (n, 2) pixel positions."""
    return np.stack([np.asarray(table["x"], float)[rows], np.asarray(table["y"], float)[rows]], axis=1)


def mutual_nearest(a: Floats, b: Floats, tolerance: float) -> tuple[Ints, Ints]:
    """Return indices of pairs that are each other's nearest, no further apart than `tolerance`."""
    from scipy.spatial import cKDTree

    if len(a) == 0 or len(b) == 0:
        return np.zeros(0, int), np.zeros(0, int)
    tree_a, tree_b = cKDTree(a), cKDTree(b)
    distance, to_b = tree_b.query(a, distance_upper_bound=tolerance)
    rows = np.flatnonzero(np.isfinite(distance))
    back = tree_a.query(b[to_b[rows]])[1]
    rows = rows[back == rows]
    return rows, to_b[rows]


def common_shift(a: Floats, b: Floats, reach: float, width: float = 1.5) -> Floats:
    """Return the shift from b to a, up to `reach` pixels, that brings most pairs within `width` pixels."""
    from scipy.spatial import cKDTree

    if len(a) == 0 or len(b) == 0:
        return np.zeros(2)
    near = cKDTree(b).query_ball_point(a, reach)
    first = np.repeat(np.arange(len(a)), [len(n) for n in near])
    if len(first) == 0:
        return np.zeros(2)
    differences = a[first] - b[np.concatenate([np.asarray(n, int) for n in near])]
    tree = cKDTree(differences)
    # Equal counts: the smaller shift.
    counts = np.array([len(n) for n in tree.query_ball_point(differences, width)])
    peak = np.lexsort((np.hypot(*differences.T), -counts))[0]
    return np.asarray(np.median(differences[tree.query_ball_point(differences[peak], width)], axis=0))


def match_stars(
    wcs: Any,
    sources: SourceTable,
    stars: StarTable,
    shape: tuple[int, int],
    tolerance: float = 2.0,
    reach: float = 10.0,
) -> Match:
    """Compare a WCS with a catalogue.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
    sources, stars : tables
    shape : tuple
        (ny, nx) of the frame.
    tolerance : float
        Largest distance of a pair after the common shift, pixels.
    reach : float
        Largest common shift, pixels.
    """
    rows = bright_sources(sources)
    xy = positions(sources, rows)
    inside, x, y = stars_in_frame(wcs, np.asarray(stars["ra"]), np.asarray(stars["dec"]), shape, margin=reach)
    # As many stars as there are sources to find them among: fainter ones only make chance pairs.
    order = np.argsort(np.asarray(stars["magnitude"], float)[inside], kind="stable")[: 2 * len(rows) + 20]
    inside, predicted = inside[order], np.stack([x, y], axis=1)[order]
    shift = common_shift(xy, predicted, reach)
    i, j = mutual_nearest(xy, predicted + shift, tolerance)
    distance = np.hypot(*(xy[i] - predicted[j] - shift).T)
    rms = float(np.sqrt(np.mean(distance**2))) if len(i) else np.nan
    density = np.pi * tolerance**2 / (shape[0] * shape[1])
    return Match(rows[i], inside[j], shift, rms, density * len(rows) * len(inside))


def refine(
    solution: PlateSolution, sources: SourceTable, stars: StarTable, shape: tuple[int, int], max_order: int = 3
) -> PlateSolution:
    """Fit the WCS again to the catalogue's stars; returns the given solution where too few of them match."""
    header, best = solution.header, None
    tolerance = 2.5
    for _ in range(4):
        match = match_stars(open_wcs(header), sources, stars, shape, tolerance=tolerance)
        if not match.significant or len(match.source) < 2 * FEWEST_PAIRS:
            break
        x, y = positions(sources, match.source).T
        ra, dec = (np.asarray(stars[name], float)[match.star] for name in ("ra", "dec"))
        fit = fit_wcs(x, y, ra, dec, shape, max_order=max_order)
        if fit is None or fit.used.sum() < 2 * FEWEST_PAIRS:
            break
        best, header = fit, fit.header
        tolerance = float(np.clip(5.0 * fit.rms, 0.7, 2.5))
    return solution if best is None else best.solution(refined=True)
