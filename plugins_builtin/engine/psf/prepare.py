"""The preparation of a PSF fit: usable stars, a unit of flux, weights of the penalty, and a first guess.

In NumPy, double precision. The definitions that the objective's value depends on are STARRED's.
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Bool, Float

from lcframework.types import FWHM_PER_SIGMA, Bools, Floats
from plugins_builtin.engine.psf.moffat import from_starred, moffat
from plugins_builtin.engine.starlet import noise_weights
from plugins_builtin.engine.target import point_sources

#: STARRED's first guess of the Moffat's slope.
START_BETA = 2.0


@attrs.frozen(eq=False)
class Prepared:
    """One frame, ready to be fitted. `reason` is why it can't be fitted, and empty where it can."""

    data: Float[Floats, "stars n n"]  # in `unit`
    inverse_variance: Float[Floats, "stars n n"]  # in 1 / unit^2; 0 where masked or where the star is left out
    penalty: Float[Floats, "scales m m"]
    unit: float  # e-/s
    shape: Float[Floats, " 4"]  # first guess of the Moffat
    amplitude: Float[Floats, " stars"]  # of the Moffat
    offset: Float[Floats, "stars 2"]  # first guess of the positions, pixels from the stamps' centres
    reason: str = ""


def usable_stars(
    data: Float[Floats, "stars n n"],
    noise: Float[Floats, "stars n n"],
    mask: Bool[Bools, "stars n n"],
    max_masked: float,
) -> tuple[Bool[Bools, "stars n n"], dict[int, str]]:
    """Return the pixels that can be used, and the stars that are left out with the reason.

    A usable pixel has finite data and a finite, positive noise. A usable star has a positive flux and enough usable
    pixels. A stamp that is masked altogether is padding and gets no reason.

    Parameters
    ----------
    data, noise : (stars, n, n) arrays
        e-/s.
    mask : (stars, n, n) bool array
        True: do not use.
    max_masked : float
        The largest share of a star's pixels that may be unusable.

    Returns
    -------
    good : (stars, n, n) bool array
        All False for a star that is left out.
    rejected : dict
        From a star's index to the reason.
    """
    good = ~mask & np.isfinite(data) & np.isfinite(noise) & (noise > 0)
    rejected: dict[int, str] = {}
    for i in range(len(data)):
        share = 1.0 - good[i].mean()
        if share > max_masked:
            if not mask[i].all():
                rejected[i] = f"{share:.0%} of its pixels are masked (at most {max_masked:.0%} may be)"
        elif data[i][good[i]].sum() <= 0:
            rejected[i] = "its pixels sum to no flux"
        else:
            continue
        good[i] = False
    return good, rejected


def prepare(
    data: Float[Floats, "stars n n"],
    noise: Float[Floats, "stars n n"],
    good: Bool[Bools, "stars n n"],
    offset: Float[Floats, "stars 2"],
    seeing: float,
    subsampling: int,
    fwhm: float,
    regularization: float = 1.0,
) -> Prepared:
    """Return a frame ready to be fitted.

    Parameters
    ----------
    data, noise : (stars, n, n) arrays
        e-/s.
    good : (stars, n, n) bool array
        Pixels to use; none of a star that is left out.
    offset : (stars, 2) array
        The stars' expected positions (x, y), pixels from the stamps' centres.
    seeing : float
        First guess of the FWHM, pixels.
    subsampling : int
        Small pixels of the kernel across a data pixel.
    fwhm : float
        FWHM of the target Gaussian, small pixels.
    regularization : float
        Strength of the starlets' penalty, in units of the noise of a coefficient; 1: STARRED's.
    """
    stars, n, _ = data.shape
    m = n * subsampling
    used = good.any(axis=(1, 2))
    seeing = float(np.clip(seeing, 1.0, 0.5 * n)) if np.isfinite(seeing) else 3.0
    shape = from_starred(seeing, seeing, 0.0, START_BETA)
    clean = np.where(good, data, 0.0)
    count = int(used.sum())
    if count == 0:
        blank = np.zeros((stars, n, n))
        empty = np.zeros((0, m, m))
        return Prepared(blank, blank, empty, 1.0, shape, np.zeros(stars), np.zeros((stars, 2)), "no usable star")
    unit = clean.sum() / count / (moffat(shape, m, subsampling).sum() / subsampling**2)
    if not np.isfinite(unit) or unit <= 0:
        raise AssertionError("stars with light have a positive mean flux")
    sigma = typical_noise(noise, good) / unit
    penalty = regularization * count * noise_weights(sigma, subsampling, fwhm) / subsampling**2
    inverse = np.where(good, (unit / np.where(good, noise, 1.0)) ** 2, 0.0)
    clean = clean / unit
    position = locate(clean, inverse, np.where(np.isfinite(offset), offset, 0.0), seeing)
    images = point_sources(moffat(shape, m, subsampling), position[:, 0], position[:, 1], n, subsampling, fwhm)
    power = (inverse * images**2).sum(axis=(1, 2))
    amplitude = (inverse * images * clean).sum(axis=(1, 2)) / np.where(power > 0, power, 1.0)
    floor = 1e-3 * max(float(amplitude.max()), 1e-3)
    return Prepared(clean, inverse, penalty, unit, shape, np.where(used, np.maximum(amplitude, floor), 0.0), position)


def typical_noise(noise: Float[Floats, "stars n n"], good: Bool[Bools, "stars n n"]) -> Float[Floats, "n n"]:
    """Return the noise from which the penalty's weights are made: the median over stars.

    A pixel that is masked in any star gets the median of the other pixels. Both rules are STARRED's.
    """
    used = good.any(axis=(1, 2))
    typical = np.median(np.where(np.isfinite(noise[used]) & (noise[used] > 0), noise[used], np.inf), axis=0)
    typical[~good[used].all(axis=0) | ~np.isfinite(typical)] = np.nan
    if np.isnan(typical).all():
        return np.full(typical.shape, np.median(noise[good]))
    return np.where(np.isnan(typical), np.nanmedian(typical), typical)


def locate(
    data: Float[Floats, "stars n n"],
    inverse: Float[Floats, "stars n n"],
    expected: Float[Floats, "stars 2"],
    seeing: float,
    reach: float = 1.5,
) -> Float[Floats, "stars 2"]:
    """Return the stars' positions from their stamps' centres, pixels, to a fraction of a pixel.

    A star's position is where a Gaussian of the seeing fits best within its stamp. All stars of a frame share the error
    of the frame's astrometry. So a position whose shift from `expected` differs from the median shift by more than
    `reach` pixels is probably a neighbour or a cosmic ray, and the expected position plus the median shift is returned.
    """
    n = data.shape[-1]
    grid = np.arange(n) - 0.5 * (n - 1)
    profile = np.exp(-0.5 * ((grid[:, None] - grid[None, :]) * FWHM_PER_SIGMA / seeing) ** 2)
    signal = profile @ (inverse * data) @ profile
    power = profile**2 @ inverse @ profile**2
    gain = np.where(power > 0.2 * power.max(axis=(1, 2), keepdims=True), signal, 0.0) / np.sqrt(power + 1e-30)
    found = np.zeros((len(data), 2))
    for i, image in enumerate(gain):
        row, column = (int(i) for i in np.unravel_index(np.argmax(image), image.shape))
        found[i] = grid[column] + _vertex(image[row], column), grid[row] + _vertex(image[:, column], row)
    used = inverse.any(axis=(1, 2))
    shift = found - expected
    median = np.median(shift[used], axis=0) if used.any() else np.zeros(2)
    agrees = np.abs(shift - median).max(axis=1) <= reach
    return np.where((agrees & used)[:, None], found, np.clip(expected + median, grid[0], grid[-1]))


def _vertex(values: Float[Floats, " n"], peak: int) -> float:
    """Return the vertex of the parabola through `values` around index `peak`, relative to it."""
    if not 0 < peak < len(values) - 1:
        return 0.0
    before, here, after = values[peak - 1 : peak + 2]
    curvature = before - 2.0 * here + after
    return float(np.clip(0.5 * (before - after) / curvature, -0.5, 0.5)) if curvature < 0 else 0.0
