"""The PSF of a frame by which sources are drawn: a Moffat profile that varies over the frame, and what it misses.

It is independent of the PSF models that measure: profiles are fitted to each star with SciPy, and the mean of what
they leave is kept in a table with four points a pixel. It is an *effective* PSF: the light that falls on a pixel as a
function of the pixel's distance from the star, so nothing is integrated over pixels again (Anderson & King 2000, PASP
112, 1360).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import attrs
import numpy as np
import scipy  # its subpackages load when they are first used

from lcframework.types import Bools, Floats
from lcframework.types.robust import SIGMA_PER_MAD

#: Points of the table in a pixel.
OVERSAMPLING = 4
#: The Moffat exponents that are tried.
EXPONENTS = (1.8, 2.2, 2.7, 3.3, 4.2, 6.0, 10.0)
#: Below this many stars the profile is the same all over the frame.
STARS_FOR_VARIATION = 7
#: Noise of the table, relative to the peak, at which a point has half of its weight.
_PRIOR = 2e-3
_ROUNDS = 3
#: Profiles further than this from the others, in robust deviations, are those of no single star.
_UNLIKE = 5.0
#: The radius of what is fitted, and of the table, in FWHM.
REACH = 3.5


@attrs.frozen(eq=False)
class StarImage:
    """The pixels around a star.

    Attributes
    ----------
    data, variance : (n, n) arrays
        e-/s without the sky, and its square.
    used : (n, n) array
        The pixels that are the star's alone.
    corner : (int, int)
        The first pixel (x, y) in the frame.
    position : (float, float)
        About where the star is in the frame, pixels.
    """

    data: Floats
    variance: Floats
    used: Bools
    corner: tuple[int, int]
    position: tuple[float, float]

    def pixels(self) -> tuple[Floats, Floats]:
        """Return the columns and rows of its pixels in the frame, (n, n) each."""
        rows, columns = np.indices(self.data.shape, dtype=float)
        return columns + self.corner[0], rows + self.corner[1]


@attrs.frozen
class StarFit:
    """A star's place in the frame (pixels), its flux and its error (e-/s)."""

    x: float
    y: float
    flux: float
    error: float


@attrs.frozen(eq=False)
class DrawingPsf:
    """The effective PSF of a frame.

    Attributes
    ----------
    exponent : float
        Of the Moffat profile.
    shape : (3, 3) array
        Of log size and two components of ellipticity, by 1, u and v: the place in the frame less its centre, over its
        half-width.
    table : (m, m) array
        What is added to the profile of unit flux, on a grid of `OVERSAMPLING` points a pixel about its centre.
    frame : (int, int)
        The frame's (ny, nx).
    stars : int
        How many stars it is made of.
    fwhm : float
        Pixels.
    """

    exponent: float
    shape: Floats
    table: Floats
    frame: tuple[int, int]
    stars: int
    fwhm: float

    def at(self, x: float, y: float, columns: Floats, rows: Floats) -> Floats:
        """Return the share of a star's light at (x, y) that falls on pixels (any shape)."""
        dx, dy = columns - x, rows - y
        profile = moffat(dx, dy, self.shape @ place_in_frame(x, y, self.frame), self.exponent)
        return np.asarray(profile + self._missed(dx, dy))

    def _missed(self, dx: Floats, dy: Floats) -> Floats:
        centre = (len(self.table) - 1) / 2
        where = np.stack([dy * OVERSAMPLING + centre, dx * OVERSAMPLING + centre])
        return np.asarray(scipy.ndimage.map_coordinates(self._spline, where, mode="constant", prefilter=False))

    @functools.cached_property
    def _spline(self) -> Floats:
        """The table's cubic spline."""
        return np.asarray(scipy.ndimage.spline_filter(self.table))


def moffat(dx: Floats, dy: Floats, shape: Floats, exponent: float) -> Floats:
    """Return a Moffat profile of unit flux; `shape` is log size (pixels) and two components of ellipticity."""
    size, e1, e2 = np.exp(shape[0]), shape[1], shape[2]
    # A symmetric matrix with determinant 1 for every ellipticity, so that the flux does not depend on it.
    length = np.hypot(e1, e2)
    cosh, sinh = np.cosh(length), np.sinh(length) / max(length, 1e-12)
    u, v = (cosh + sinh * e1) * dx + sinh * e2 * dy, sinh * e2 * dx + (cosh - sinh * e1) * dy
    return np.asarray((exponent - 1) / (np.pi * size**2) * (1 + (u**2 + v**2) / size**2) ** -exponent)


def fit_drawing_psf(stars: Sequence[StarImage], frame: tuple[int, int], fwhm: float) -> DrawingPsf | None:
    """Return the PSF that stars show; None where fewer than two of them are alike.

    Parameters
    ----------
    stars : sequence of StarImage
        Bright ones that are not saturated.
    frame : (int, int)
        The frame's (ny, nx).
    fwhm : float
        A first guess, pixels.
    """
    fits = [f for f in (_Profile.of(star, fwhm) for star in stars) if f is not None]
    fits = _alike(fits)
    if len(fits) < 2:
        return None
    brightest = sorted(fits, key=lambda f: -f.signal)[:6]
    losses = [sum(f.refitted(b).loss for f in brightest) for b in EXPONENTS]
    exponent = EXPONENTS[int(np.argmin(losses))]
    fits = [f.refitted(exponent) for f in fits]
    shape = _variation(fits, frame)
    m = 2 * int(np.ceil(REACH * fwhm)) * OVERSAMPLING + 1
    psf = DrawingPsf(exponent, shape, np.zeros((m, m)), frame, len(fits), _width(shape, exponent))
    for _ in range(_ROUNDS):
        missed = _missed_light(psf, [f.star for f in fits])
        psf = attrs.evolve(psf, table=psf.table + missed)
    return psf


def measure(psf: DrawingPsf, star: StarImage) -> StarFit | None:
    """Return a star's place and flux by a PSF, with a level around it; None where the fit does not hold."""
    columns, rows = star.pixels()
    near = star.used & (np.hypot(columns - star.position[0], rows - star.position[1]) <= REACH * psf.fwhm)
    if near.sum() < 20:
        return None
    weight = np.sqrt(near / star.variance)

    def solved(place: Floats) -> tuple[Floats, Floats, Floats]:
        model = psf.at(place[0], place[1], columns, rows)
        return _linear(model, star.data, weight)

    found = scipy.optimize.least_squares(lambda p: solved(p)[1], star.position, method="lm", x_scale=0.1, max_nfev=150)
    (flux, _), _, covariance = solved(found.x)
    moved = np.hypot(*np.subtract(found.x, star.position))
    if not (found.success and flux > 0 and moved < 1.5 * psf.fwhm):
        return None
    return StarFit(float(found.x[0]), float(found.x[1]), float(flux), float(np.sqrt(covariance[0, 0])))


def _linear(model: Floats, data: Floats, weight: Floats) -> tuple[Floats, Floats, Floats]:
    """Return flux and level, the weighted residuals, and the covariance."""
    design = np.stack([(model * weight).ravel(), weight.ravel()], axis=1)
    covariance = np.linalg.pinv(design.T @ design)
    values = (data * weight).ravel()
    solution = covariance @ (design.T @ values)
    return solution, values - design @ solution, covariance


@attrs.frozen(eq=False)
class _Profile:
    """A Moffat profile of its own for one star."""

    star: StarImage
    place: Floats  # x, y, and the shape's three numbers
    exponent: float
    loss: float
    signal: float  # over noise

    @classmethod
    def of(cls, star: StarImage, fwhm: float, exponent: float = 3.3) -> _Profile | None:
        size = fwhm / (2 * np.sqrt(2 ** (1 / exponent) - 1))
        start = np.array([*star.position, np.log(size), 0.0, 0.0])
        return cls._fitted(star, start, exponent)

    @classmethod
    def _fitted(cls, star: StarImage, start: Floats, exponent: float) -> _Profile | None:
        columns, rows = star.pixels()
        weight = np.sqrt(star.used / star.variance)
        if star.used.sum() < 20:
            return None

        def solved(p: Floats) -> tuple[Floats, Floats, Floats]:
            return _linear(moffat(columns - p[0], rows - p[1], p[2:], exponent), star.data, weight)

        found = scipy.optimize.least_squares(lambda p: solved(p)[1], start, method="lm", x_scale=0.1, max_nfev=300)
        (flux, _), residual, covariance = solved(found.x)
        if not flux > 0 or np.hypot(*(found.x[:2] - star.position)) > 3:
            return None
        return cls(star, found.x, exponent, float((residual**2).sum()), float(flux / np.sqrt(covariance[0, 0])))

    def refitted(self, exponent: float) -> _Profile:
        """Return the profile with another exponent, from this one's width on."""
        start = self.place.copy()
        start[2] += 0.5 * np.log((2 ** (1 / self.exponent) - 1) / (2 ** (1 / exponent) - 1))
        return self._fitted(self.star, start, exponent) or self


def _alike(fits: list[_Profile]) -> list[_Profile]:
    """Return the profiles without those that are unlike the others: galaxies, pairs, cosmic rays."""
    if len(fits) < 3:
        return fits
    shapes = np.array([f.place[2:] for f in fits])
    off = np.abs(shapes - np.median(shapes, axis=0))
    spread = np.maximum(SIGMA_PER_MAD * np.median(off, axis=0), 0.02)
    return [f for f, far in zip(fits, (off > _UNLIKE * spread).any(axis=1), strict=True) if not far]


def place_in_frame(x: float | Floats, y: float | Floats, frame: tuple[int, int]) -> Floats:
    """Return (..., 3) 1, u and v: places less the frame's centre, over the half-width."""
    ny, nx = frame
    u, v = (x - (nx - 1) / 2) / (nx / 2), (y - (ny - 1) / 2) / (ny / 2)
    return np.stack([np.ones_like(u), u, v], axis=-1)


def _variation(fits: Sequence[_Profile], frame: tuple[int, int]) -> Floats:
    """Return the shape's three numbers as planes over the frame, or as constants where stars are few."""
    x, y = np.array([f.place[:2] for f in fits]).T
    places = place_in_frame(x, y, frame)
    shapes = np.array([f.place[2:] for f in fits])
    weight = np.array([min(f.signal, 300.0) for f in fits])  # beyond it, profiles differ by more than noise
    terms = 3 if len(fits) >= STARS_FOR_VARIATION else 1
    out = np.zeros((3, 3))
    design = places[:, :terms] * weight[:, None]
    out[:, :terms] = np.linalg.lstsq(design, shapes * weight[:, None], rcond=None)[0].T
    return out


def _width(shape: Floats, exponent: float) -> float:
    """Return the FWHM at the frame's centre, pixels."""
    return float(2 * np.exp(shape[0, 0]) * np.sqrt(2 ** (1 / exponent) - 1))


def _missed_light(psf: DrawingPsf, stars: Sequence[StarImage]) -> Floats:
    """Return the mean of what a PSF leaves of stars of unit flux, on the grid of its table."""
    m, total = len(psf.table), np.zeros(psf.table.shape)
    weights = np.zeros_like(total)
    centre = (m - 1) / 2
    for star in stars:
        fit = measure(psf, star)
        if fit is None:
            continue
        columns, rows = star.pixels()
        model = psf.at(fit.x, fit.y, columns, rows)
        weight = np.sqrt(star.used / star.variance)
        (flux, level), _, _ = _linear(model, star.data, weight)
        left = (star.data - level) / flux - model
        i = np.rint((rows - fit.y) * OVERSAMPLING + centre).astype(int)
        j = np.rint((columns - fit.x) * OVERSAMPLING + centre).astype(int)
        inside = star.used & (i >= 0) & (i < m) & (j >= 0) & (j < m)
        each = flux**2 / star.variance
        np.add.at(total, (i[inside], j[inside]), (left * each)[inside])
        np.add.at(weights, (i[inside], j[inside]), each[inside])
    # Half a pixel wide: the pixels of a star are a pixel apart, and an effective PSF has no finer detail.
    width = 0.4 * OVERSAMPLING
    total, weights = (scipy.ndimage.gaussian_filter(a, width) for a in (total, weights))
    area = 4 * np.pi * width**2  # independent points under the filter
    peak = (psf.exponent - 1) / np.pi / np.exp(2 * psf.shape[0, 0])
    missed = total / (weights + 1 / (area * (_PRIOR * peak) ** 2))
    grid = np.indices(missed.shape) - centre
    radius = np.hypot(grid[0], grid[1]) / OVERSAMPLING
    reach = REACH * psf.fwhm
    return np.asarray(missed * np.clip((reach - radius) / (0.3 * reach), 0, 1))  # it ends softly
