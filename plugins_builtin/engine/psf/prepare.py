"""From stamps to what a PSF fit works on: usable stars, a flux unit, weights of the penalty, and a first guess.

Plain NumPy, double precision. The definitions that fix the objective's value are STARRED's.
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Bool, Float

from lcframework.types import Bools, Floats
from plugins_builtin.engine.psf.moffat import from_starred, moffat
from plugins_builtin.engine.starlet import noise_weights
from plugins_builtin.engine.target import FWHM_PER_SIGMA, point_sources

#: STARRED's first guess of the Moffat's slope.
START_BETA = 2.0


@attrs.frozen(eq=False)
class Prepared:
    """One frame, ready to be fitted. `reason` says why it can't be, and is empty where it can."""

    data: Float[Floats, "stars n n"]  # in `unit`
    inverse_variance: Float[Floats, "stars n n"]  # 1 / unit^2, 0 where masked or where the star is left out
    penalty: Float[Floats, "scales m m"]
    unit: float  # e-/s
    shape: Float[Floats, " 4"]  # first guess of the Moffat
    amplitude: Float[Floats, " stars"]  # of it
    offset: Float[Floats, "stars 2"]
    reason: str = ""


def usable_stars(
    data: Float[Floats, "stars n n"],
    noise: Float[Floats, "stars n n"],
    mask: Bool[Bools, "stars n n"],
    max_masked: float,
) -> tuple[Bool[Bools, "stars n n"], dict[int, str]]:
    """Return pixels that can be used, and why stars are left out.

    A pixel needs finite data and a finite, positive noise. A star needs light and enough of its pixels; a stamp that is
    masked altogether is padding and gets no reason.
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
) -> Prepared:
    """Return a frame ready to be fitted.

    Parameters
    ----------
    data, noise : array
        e-/s.
    good : bool array
        Pixels to use; none of a star that is left out.
    offset : array
        Where the stars are expected, pixels from the stamps' centres.
    seeing : float
        Guess of the FWHM, pixels.
    subsampling, fwhm
        Of the kernel, and of its target Gaussian in small pixels.
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
    penalty = count * noise_weights(sigma, subsampling, fwhm) / subsampling**2
    inverse = np.where(good, (unit / np.where(good, noise, 1.0)) ** 2, 0.0)
    clean = clean / unit
    places = locate(clean, inverse, np.where(np.isfinite(offset), offset, 0.0), seeing)
    images = point_sources(moffat(shape, m, subsampling), places[:, 0], places[:, 1], n, subsampling, fwhm)
    power = (inverse * images**2).sum(axis=(1, 2))
    amplitude = (inverse * images * clean).sum(axis=(1, 2)) / np.where(power > 0, power, 1.0)
    floor = 1e-3 * max(float(amplitude.max()), 1e-3)
    return Prepared(clean, inverse, penalty, unit, shape, np.where(used, np.maximum(amplitude, floor), 0.0), places)


def typical_noise(noise: Float[Floats, "stars n n"], good: Bool[Bools, "stars n n"]) -> Float[Floats, "n n"]:
    """Return the noise that sets the penalty's weights: the median over stars.

    Pixels that any star has masked get the median of the others: STARRED's rule.
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

    Each star is where a Gaussian of the seeing fits best within its stamp. Stars of a frame share the error of the
    frame's astrometry: one that disagrees with the median shift from `expected` by more than `reach` pixels is thought
    to be a neighbour or a cosmic ray, and put where the others say.
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
