"""Checks of a WCS: a plausible pixel scale, and agreement with catalogue stars in position and brightness.

By position: more pairs of sources and stars than expected by chance, within a bounded correction of the WCS. Solvers
that match stars test the same with code of their own, so this refuses mostly the WCSs of others, such as a header's.
By brightness: the bright stars among the pairs are the bright sources. No solver fits brightness, and in wrong pairs it
is random however many pairs there are, so this finds a wrong WCS whose pairs a solver brought together.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import numpy as np
import scipy  # its subpackages load when they are first used

from lcframework.config.sections import PlateSolving
from lcframework.sky.geometry import Scale, scale_at, sky_to_pixel
from lcframework.storage.frame_files import make_wcs
from lcframework.types import Floats, Ints, PlateSolution, SourceTable, StarTable

if TYPE_CHECKING:
    from astropy.wcs import WCS

#: With fewer sources or stars, a lack of pairs is no evidence against a WCS.
FEWEST = 8
#: With fewer pairs, their number is no evidence for a WCS.
FEWEST_PAIRS = 5
#: How many of the brightest sources, and of the brightest stars, are compared.
BRIGHTEST = 500
#: Largest distance of a pair, pixels.
TOLERANCE = 2.0
#: Largest accepted distance between predicted and true position of a star, pixels; its stamp still contains the star.
REACH = 10.0
#: Number of pairs from which on their brightness is compared.
PAIRS_FOR_BRIGHTNESS = 10
#: Brightness that agrees no better than in one of this many sets of wrong pairs speaks against a WCS.
_BRIGHTNESS_BY_CHANCE = 20
#: With this many times the most pairs that chance brings, a WCS is right whatever the magnitudes are worth.
_OVERWHELMING = 2.0
#: Iterations in which the matched area grows from where the WCS is right to the whole frame.
_ROUNDS = 6


@attrs.frozen
class Check:
    """The result of comparing a WCS with a catalogue."""

    sources: int  # compared
    stars: int  # compared: those that the WCS puts in the frame
    matched: int
    by_chance: float  # expected number of pairs for a wrong WCS
    rms: float  # pixels, of the pairs about a linear correction of the WCS; nan without pairs
    offset: float  # pixels, largest value of that correction at a compared star; nan without pairs
    brightness: float = np.nan  # probability that wrong pairs agree as well in brightness; nan where it is not known
    shift: tuple[float, float] = (0.0, 0.0)  # pixels (x, y), the median of that correction

    @property
    def significant(self) -> bool:
        """Whether there are more pairs than expected by chance, by five standard deviations."""
        return self.matched >= max(FEWEST_PAIRS, self._most_by_chance)

    @property
    def possible(self) -> bool:
        """Whether there are enough sources and stars for a right WCS to be significant."""
        return min(self.sources, self.stars) >= max(FEWEST, 2.0 * self._most_by_chance)

    @property
    def _perhaps_by_chance(self) -> bool:
        """Whether a crowd explains the pairs nearly: only then brightness, which saturation upsets, has a say."""
        return self.by_chance > 1.0 and self.significant and self.matched < _OVERWHELMING * self._most_by_chance

    @property
    def _most_by_chance(self) -> float:
        return self.by_chance + 5.0 * math.sqrt(self.by_chance + 1.0)

    @property
    def wrong(self) -> str:
        """The evidence against the WCS, in words; empty where there is none."""
        seen = f"of {self.stars} catalogue stars that it puts in the frame {self.matched} lie within {TOLERANCE:g} px"
        if not self.significant:
            return (
                f"{seen} of one of {self.sources} sources, and chance alone gives {self.by_chance:.1f}"
                if self.possible
                else ""
            )
        if self.offset > REACH:
            return f"it puts catalogue stars up to {self.offset:.0f} px from where they are (scale, rotation or shift)"
        if self._perhaps_by_chance and self.brightness > 0.5:
            return f"{seen} of a source, but the bright stars are not the bright sources"
        return ""

    @property
    def unsure(self) -> str:
        """Why the comparison is inconclusive; empty where it is conclusive."""
        if self._perhaps_by_chance and self.brightness > 1.0 / _BRIGHTNESS_BY_CHANCE:
            return "the magnitudes of its catalogue stars and the fluxes of their sources hardly agree"
        if self.significant or self.possible:
            return ""
        return f"{self.stars} catalogue stars and {self.sources} sources are too few to verify it"


def judge(solution: PlateSolution, shape: tuple[int, int], settings: PlateSolving) -> tuple[Scale, str]:
    """Return the scale of a solution, and what is wrong with it (empty where nothing is)."""
    none = Scale(np.nan, np.nan, np.nan)
    try:
        wcs = make_wcs(solution.header)
        if not wcs.has_celestial:
            return none, "the WCS has no celestial axes"
        scale = scale_at(wcs, (shape[1] - 1) / 2, (shape[0] - 1) / 2)
    except Exception as error:  # wcslib raises a dozen kinds of error on headers that make no sense
        return none, f"the WCS is invalid ({str(error).strip().splitlines()[0]})"
    low, high = settings.pixel_scale
    if not np.isfinite(scale.pixel_scale):
        return scale, "the WCS gives no finite pixel scale"
    if not low <= scale.pixel_scale <= high:
        return scale, f"its pixel scale of {scale.pixel_scale:.4f} arcsec lies outside pixel_scale = [{low}, {high}]"
    if scale.anisotropy > settings.max_anisotropy:
        return scale, f"its anisotropy of {scale.anisotropy:.4f} exceeds max_anisotropy = {settings.max_anisotropy}"
    return scale, ""


def check(wcs: WCS, shape: tuple[int, int], sources: SourceTable, stars: StarTable) -> Check:
    """Compare a WCS with a catalogue.

    First the shift of up to `REACH` pixels that gives most pairs is found. Then matching and the fit of a linear
    correction alternate, so that a slightly wrong scale or rotation is measured.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
    shape : tuple
        (ny, nx) of the frame.
    sources : SourceTable
        The frame's sources; only the brightest are compared.
    stars : StarTable
        Positions at the frame's epoch; the stars may cover more or less than the frame.
    """
    xy, flux = _brightest_sources(sources)
    predicted, magnitude = _brightest_inside(wcs, shape, stars, 2 * len(xy) + 20)
    chance = np.pi * TOLERANCE**2 / (shape[0] * shape[1]) * len(xy) * len(predicted)
    if len(xy) == 0 or len(predicted) == 0:
        return Check(len(xy), len(predicted), 0, float(chance), np.nan, np.nan)
    moved = predicted + _common_shift(xy, predicted)
    i, j = _pairs(xy, moved)
    for _ in range(_ROUNDS):
        if len(i) < 2 * FEWEST_PAIRS:
            break
        design = np.column_stack([predicted, np.ones(len(predicted))])
        moved = design @ np.linalg.lstsq(design[j], xy[i], rcond=None)[0]
        before, (i, j) = len(i), _pairs(xy, moved)
        if len(i) <= before:
            break
    if len(i) == 0:
        return Check(len(xy), len(predicted), 0, float(chance), np.nan, np.nan)
    distance = np.hypot(*(xy[i] - moved[j]).T)
    correction = moved - predicted
    return Check(
        sources=len(xy),
        stars=len(predicted),
        matched=len(i),
        by_chance=float(chance),
        rms=float(np.sqrt(np.mean(distance**2))),
        offset=float(np.hypot(*correction.T).max()),
        brightness=_brightness_by_chance(flux[i], magnitude[j]),
        shift=(float(np.median(correction[:, 0])), float(np.median(correction[:, 1]))),
    )


def _brightness_by_chance(flux: Floats, magnitude: Floats) -> float:
    """Return the probability that wrong pairs agree as well in brightness; nan where there is too little to compare.

    From Spearman's rank correlation, which takes any relation of the catalogue's band to the frame's that keeps the
    order, and any saturation.
    """
    known = np.isfinite(magnitude)
    flux, magnitude = flux[known], magnitude[known]
    if len(flux) < PAIRS_FOR_BRIGHTNESS or np.ptp(magnitude) == 0 or np.ptp(flux) == 0:
        return np.nan
    return float(scipy.stats.spearmanr(flux, -magnitude, alternative="greater").pvalue)


def _brightest_sources(sources: SourceTable) -> tuple[Floats, Floats]:
    """Return the positions (n, 2) and fluxes (n,) of the brightest sources."""
    xy = np.stack([np.asarray(sources["x"], float), np.asarray(sources["y"], float)], axis=1)
    flux = np.asarray(sources["flux"], float)
    rows = np.flatnonzero(np.isfinite(xy).all(axis=1) & (flux > 0))
    rows = rows[np.argsort(-flux[rows], kind="stable")][:BRIGHTEST]
    return xy[rows], flux[rows]


def _brightest_inside(wcs: WCS, shape: tuple[int, int], stars: StarTable, number: int) -> tuple[Floats, Floats]:
    """Return the pixels (n, 2) and magnitudes (n,) of the brightest stars that a WCS puts in the frame."""
    ny, nx = shape
    ra, dec = np.asarray(stars["ra"], float), np.asarray(stars["dec"], float)
    x, y = sky_to_pixel(wcs, ra, dec)
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero((x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5))
    # The far side of the projection, and a polynomial far from the frame, also map into it: check the inverse.
    back = np.stack(wcs.all_pix2world(x[rows], y[rows], 0)) if len(rows) else np.zeros((2, 0))
    same = np.abs(_unit(*back) - _unit(ra[rows], dec[rows])).max(axis=0) < 1e-5
    rows = rows[same]
    magnitude = np.asarray(stars["magnitude"], float)
    order = np.argsort(np.nan_to_num(magnitude[rows], nan=np.inf), kind="stable")
    rows = rows[order][: min(number, BRIGHTEST)]
    return np.stack([x[rows], y[rows]], axis=1), magnitude[rows]


def _unit(ra: Floats, dec: Floats) -> Floats:
    a, d = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])


def _common_shift(xy: Floats, predicted: Floats) -> Floats:
    """Return the shift (2,) of the predictions, up to `REACH` pixels, that puts most of them on sources."""
    near = scipy.spatial.cKDTree(xy).query_ball_point(predicted, REACH)
    star = np.repeat(np.arange(len(predicted)), [len(n) for n in near])
    if len(star) == 0:
        return np.zeros(2)
    shifts = xy[np.concatenate([np.asarray(n, int) for n in near])] - predicted[star]
    tree = scipy.spatial.cKDTree(shifts)
    votes = tree.query_ball_point(shifts, TOLERANCE, return_length=True)
    best = shifts[np.lexsort((np.hypot(*shifts.T), -votes))[0]]
    return np.asarray(np.median(shifts[tree.query_ball_point(best, TOLERANCE)], axis=0))


def _pairs(xy: Floats, moved: Floats) -> tuple[Ints, Ints]:
    """Return the rows of sources and of predictions that are mutually nearest, within `TOLERANCE` pixels."""
    distance, star = scipy.spatial.cKDTree(moved).query(xy, distance_upper_bound=TOLERANCE)
    i = np.flatnonzero(np.isfinite(distance))
    back = scipy.spatial.cKDTree(xy).query(moved[star[i]])[1]
    i = i[back == i]
    return i, star[i]
