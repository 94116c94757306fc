"""The gain from the images: photon noise makes the variance increase with the level by 1 / gain.

Where there are two frames of equal exposure, their difference is free of fixed patterns (flat field, hot pixels).
With one frame, neighbouring pixels are used instead of the second frame. A pedestal moves the levels and not the
slope, so the slope of variance over level gives the gain where the levels differ enough (Janesick 2007, Photon
Transfer, chapter 5). Pixels that share their noise, in resampled frames, each have too little of it: then the variance
is that of sums of pixels.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.ndimage import binary_dilation, uniform_filter

from lcframework.frames.clipped_sky import lowest_value
from lcframework.frames.squares import SQUARE, squares
from lcframework.types import Bools, Floats, MeasuredGain
from lcframework.types.robust import clip_and_refit, scatter_about_zero

#: A gain is measured on this many pairs of frames, on a central part with sides of at most so many pixels.
PAIRS, LARGEST = 8, 2048
#: The number of squares of a pair that are measured; more would hardly improve the result.
SQUARES_A_PAIR = 200
#: The slope is significant where it exceeds its error by this factor.
SIGNIFICANT = 5.0
_SOURCE_SIGMA = 3.0
_CLIP = 4.0
_QUANTIZATION = 1.0 / 12.0  # variance of rounding to whole numbers
#: Pixels share their noise where sums over cells of so many pixels a side have this many times the variance of
#: independent ones, whose planes and unmasked pixels leave them the third number of it.
_CELL, _SHARED, _INDEPENDENT = 4, 1.5, 0.9
_FEWEST_CELLS = 16
#: A square in which more than this share of the pixels have the frame's lowest value is cut off there.
_CUT_OFF = 0.005


def measure_gain(pairs: Iterable[tuple[Floats, Floats]], whole_numbers: bool = True) -> MeasuredGain:
    """Measure the gain.

    Parameters
    ----------
    pairs : iterable of two (ny, nx) arrays
        Successive frames of equal exposure; or the two halves of one frame from :func:`halves`.
    whole_numbers : bool
        Whether the data are rounded to whole units; the noise of rounding is then subtracted.

    Returns
    -------
    MeasuredGain
    """
    found = [points(a, b) for a, b in pairs]
    count = len(found)
    ratios = [_shared(*pair[1:]) for pair in found]
    shared = float(np.median(ratios)) if ratios else 1.0
    if shared == 1:  # programs resample all frames: a single pair has its stars elsewhere
        ratios = [1.0] * count
    level = np.concatenate([pair[0] for pair in found]) if found else np.empty(0)
    variance = np.concatenate([pair[1] * r for pair, r in zip(found, ratios, strict=True)]) if found else np.empty(0)
    variance = variance - (_QUANTIZATION if whole_numbers else 0.0)
    good = np.isfinite(level) & (variance > 0)
    level, variance = level[good], variance[good]
    if len(level) < 20:
        return MeasuredGain(
            np.nan,
            np.nan,
            (np.nan, np.nan),
            np.nan,
            len(level),
            count,
            "too few pixels free of sources and not cut off",
        )
    span = (float(np.percentile(level, 1)), float(np.percentile(level, 99)))
    slope, error = robust_slope(level, variance)
    noise = float(np.sqrt(np.median(variance)))
    if slope <= SIGNIFICANT * error:
        why = f"the levels ({span[0]:.0f} to {span[1]:.0f}) differ too little for a measurement"
        return MeasuredGain(np.nan, np.nan, span, noise, len(level), count, why, shared)
    return MeasuredGain(1.0 / slope, error / slope**2, span, noise, len(level), count, shared=shared)


def _shared(variance: Floats, of_sums: Floats) -> float:
    """Return how many times the pixels' variance that of sums of pixels is; 1 where pixels do not share their noise."""
    known = np.isfinite(of_sums) & (variance > 0)
    if known.sum() < 20:
        return 1.0
    ratio = float(np.median(of_sums[known] / variance[known]))
    return ratio / _INDEPENDENT if ratio > _SHARED else 1.0


def halves(image: Floats) -> tuple[Floats, Floats]:
    """Return the even and the odd columns of one frame, as if they were two frames."""
    width = image.shape[1] // 2 * 2
    return image[:, 0:width:2], image[:, 1:width:2]


def central(image: Floats, size: int = LARGEST) -> Floats:
    """Return the central part of an image, with sides of at most `size` pixels."""
    y, x = (max(0, (n - size) // 2) for n in image.shape)
    return image[y : y + size, x : x + size]


def points(a: Floats, b: Floats) -> Floats:
    """Return level and variance of a pixel in squares free of sources, and the variance a pixel of sums, (3, n)."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    first, second, lit = (squares(image).reshape(-1, SQUARE**2) for image in (a, b, _sources(a) | _sources(b)))
    bad = lit | ~np.isfinite(first) | ~np.isfinite(second)
    for image, values in ((a, first), (b, second)):
        lowest, share = lowest_value(image)
        if share:  # where the sky is cut off, its level and its variance grow together, whatever the gain
            bad |= ((values == lowest).mean(axis=1) > _CUT_OFF)[:, None]
    difference = first - second
    y, x = np.mgrid[:SQUARE, :SQUARE] - (SQUARE - 1) / 2.0
    plane = np.stack([np.ones(SQUARE**2), x.ravel(), y.ravel()], axis=1)  # the sky may tilt between the frames
    chosen = np.flatnonzero((~bad).mean(axis=1) > 0.3)
    chosen = chosen[:: max(1, -(-len(chosen) // SQUARES_A_PAIR))]
    out = np.empty((3, len(chosen)))
    for i, row in enumerate(chosen):
        good = ~bad[row]
        for _ in range(3):  # unlike `clip_and_refit`, the mean level is that of the last selection, not of the last fit
            fit = np.linalg.lstsq(plane[good], difference[row][good], rcond=None)[0]
            residual = difference[row] - plane @ fit
            variance = float(residual[good].var(ddof=3))
            good = ~bad[row] & (np.abs(residual) < _CLIP * np.sqrt(variance) + 0.5)
        out[:2, i] = (first[row][good].mean() + second[row][good].mean()) / 2.0, variance / 2.0
        out[2, i] = _variance_of_sums(residual, good) / 2.0
    return out


def _variance_of_sums(square: Floats, good: Bools) -> float:
    """Return the mean square of sums over cells of a square, for each of their pixels; nan with few whole ones."""
    side = (SQUARE // _CELL, _CELL)
    sums = np.where(good, square, 0.0).reshape(*side, *side).sum(axis=(1, 3))
    pixels = good.reshape(*side, *side).sum(axis=(1, 3))
    whole = pixels >= _CELL**2 - 2  # hot pixels and cosmic rays are left out
    if whole.sum() < _FEWEST_CELLS:
        return float("nan")
    return float(np.mean(sums[whole] ** 2 / pixels[whole]))


def _sources(image: Floats) -> Bools:
    """Return which pixels belong to stars: those that are bright after smoothing, and pixels near them."""
    ny, nx = (n // SQUARE for n in image.shape)
    if ny == 0 or nx == 0:
        return np.zeros(image.shape, bool)
    filled = np.where(np.isfinite(image), image, np.nanmedian(image) if np.isfinite(image).any() else 0.0)
    sky = np.kron(np.median(squares(filled), axis=(1, 2)).reshape(ny, nx), np.ones((SQUARE, SQUARE)))
    smooth = uniform_filter(filled[: ny * SQUARE, : nx * SQUARE] - sky, 3)
    low, middle = np.percentile(smooth, [16, 50])
    mask = np.zeros(image.shape, bool)
    mask[: ny * SQUARE, : nx * SQUARE] = binary_dilation(
        np.abs(smooth - middle) > _SOURCE_SIGMA * (middle - low), iterations=3
    )
    return mask


def robust_slope(x: Floats, y: Floats) -> tuple[float, float]:
    """Return the slope of a line through points and its error, without outliers beyond 3 sigma."""
    centred = x - np.median(x)
    if np.ptp(x) == 0:
        return 0.0, np.inf

    def fit(used: Bools) -> tuple[tuple[float, float], Bools]:
        design = np.stack([np.ones(used.sum()), centred[used]], axis=1)
        line = np.linalg.lstsq(design, y[used], rcond=None)[0]
        residual = y - line[0] - line[1] * centred
        sigma = scatter_about_zero(residual[used])
        return (float(line[1]), sigma), np.abs(residual) <= 3.0 * sigma

    (slope, sigma), good = clip_and_refit(fit, np.ones(len(x), bool), 10, 30)
    weight = float(np.sum((centred[good] - centred[good].mean()) ** 2))
    return slope, sigma / np.sqrt(weight) if weight > 0 else np.inf
