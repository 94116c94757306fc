"""Pixels of a raw image: conversion to e-/s, and flags of saturated, blank and bad pixels."""

from __future__ import annotations

import numpy as np
import scipy  # its subpackages load when they are first used

from lcframework.types import Bools, DataUnit, Floats, HeaderInfo, PixelFlag
from lcframework.types.robust import scatter_about_zero

#: A row or column is bad where its median deviates from its neighbours' by this many times their usual deviation, and
#: by more than the noise of a pixel: with smaller deviations, masking would lose more than it gains.
BAD_LINE_SIGMA = 8.0
_NEIGHBOURS = 15
#: The number of pixels of a line from which its median is computed.
_SAMPLES = 400


def to_rate(image: Floats, info: HeaderInfo) -> Floats:
    """Return an image in e-/s, from the raw unit in `info`."""
    factor = {
        DataUnit.ADU: info.gain / info.exptime,
        DataUnit.ELECTRON: 1.0 / info.exptime,
        DataUnit.ADU_PER_SECOND: info.gain,
        DataUnit.ELECTRON_PER_SECOND: 1.0,
    }[info.data_unit]
    return image * np.float32(factor)


def pixel_flags(image: Floats, saturation: float, reduced: Floats | None = None) -> np.ndarray:
    """Return the flags (ny, nx), uint8, that must be found in the raw image: saturated, blank, bad lines.

    Parameters
    ----------
    image : (ny, nx) array
        In the raw unit; nan where blank.
    saturation : float
        The level in that unit from which a pixel is saturated; inf where unknown.
    reduced : (ny, nx) array, optional
        The reduced image, where there is one: bad lines are then found in it, because the reduction may correct them.
    """
    blank = ~np.isfinite(image)
    flags = np.where(blank, PixelFlag.BLANK.value, 0).astype(np.uint8)
    with np.errstate(invalid="ignore"):
        flags[image >= saturation] |= PixelFlag.SATURATED.value
    lines_in = image if reduced is None else reduced
    rows, columns = bad_lines(lines_in, 1), bad_lines(lines_in, 0)
    flags[rows, :] |= PixelFlag.BAD_LINE.value
    flags[:, columns] |= PixelFlag.BAD_LINE.value
    return flags


def bad_lines(image: Floats, axis: int) -> Bools:
    """Return which rows (`axis` 1) or columns (0) are bad: with a deviating median, or with constant values."""
    step = max(1, image.shape[axis] // _SAMPLES)
    sample = image[:, ::step] if axis == 1 else image[::step, :]
    finite = np.isfinite(sample)
    if not finite.all():  # a line of only nan becomes constant
        sample = np.where(finite, sample, np.median(sample[finite]) if finite.any() else 0)
    n = sample.shape[axis]
    ranks = [n // 10, n // 2, 9 * n // 10]
    # For short lines, NumPy's sort is several times faster than a partition at three ranks.
    low, level, high = np.moveaxis(np.take(np.sort(sample, axis), ranks, axis), axis, 0)
    deviation = level - scipy.ndimage.median_filter(level, _NEIGHBOURS, mode="nearest")
    spread = scatter_about_zero(deviation)
    pixel_noise = np.median(high - low) / 2.563
    return np.asarray((np.abs(deviation) > max(BAD_LINE_SIGMA * spread, pixel_noise)) | (high == low))
