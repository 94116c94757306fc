"""How a FITS file stores an image's numbers, and unsigned counts that were written as signed ones."""

from __future__ import annotations

import attrs
import numpy as np
import scipy  # its subpackages load when they are first used

from lcframework.types import Bools, Doubt, Floats, Severity, UnusableInput
from lcframework.types.robust import scatter_about_zero

_HALF, _WHOLE = 2**15, 2**16
#: Fewer bright cores with negative counts could be chance: cosmic rays beside dead pixels.
_FEWEST_CORES = 3
#: Levels about the median, in units of the background's scatter.
_FAR_BELOW, _BRIGHT = 20.0, 10.0
#: Most negative pixels that are looked at: of more a frame does not consist of stars.
_MOST = 0.2


@attrs.frozen
class Storage:
    """What the numbers of an image are in the file: ``zero + scale * stored``."""

    bits: int  # BITPIX: negative for floating point
    zero: float = 0.0
    scale: float = 1.0

    @property
    def top(self) -> float:
        """The greatest value of counts; inf for floating point and scaled integers, whose range says nothing."""
        if self.bits < 0 or self.scale != 1.0:
            return np.inf
        return 255.0 + self.zero if self.bits == 8 else 2.0 ** (self.bits - 1) - 1 + self.zero


def unwrapped(image: Floats, storage: Storage, name: str) -> tuple[Floats, Storage, tuple[Doubt, ...]]:
    """Return an image with the counts above 32767 that a signed 16-bit file shows as negative, if it has such.

    Unsigned counts whose BZERO = 32768 is missing read 65536 too low from 32768 on: the cores of bright stars become
    holes. Where all negative pixels are such holes there is one way to read them, and they are mended.

    Parameters
    ----------
    image : (ny, nx) array
        In the raw unit; nan where blank.
    storage : Storage
        How the file stores it.
    name : str
        The file's, for messages.

    Returns
    -------
    image, storage
        As they are to be understood.
    doubts : tuple of Doubt
        A note where the image was mended.

    Raises
    ------
    UnusableInput
        Where bright cores hold negative counts, and it is not certain how these are to be read.
    """
    if (storage.bits, storage.zero, storage.scale) != (16, 0.0, 1.0):
        return image, storage, ()
    with np.errstate(invalid="ignore"):
        negative = image < 0
    if not negative.any() or np.mean(negative) > _MOST:
        return image, storage, ()
    median, scatter = _background(image)
    deep = negative & (image < median - _FAR_BELOW * scatter)
    cores, number = _in_bright_cores(image, deep, median + _BRIGHT * scatter)
    if number < _FEWEST_CORES:
        return image, storage, ()
    held = image[cores & (image != -1)]  # -1 is 65535, at which many clip
    certain = (
        median > 0
        and np.count_nonzero(cores) >= 0.9 * np.count_nonzero(negative)
        and float(np.nanmax(image)) > 0.9 * _HALF
        and len(np.unique(held)) > 0.5 * len(held)  # a fill value is one alone
    )
    if not certain:
        raise UnusableInput(
            f"the cores of {number} bright stars in {name} hold negative counts: numbers above {_HALF - 1} seem to "
            "have been written as signed 16-bit ones, and it is not certain which. Write the files again as unsigned "
            f"integers (BZERO = {_HALF}) or as floating point"
        )
    text = f"counts above {_HALF - 1} were stored as negative ones (BZERO = {_HALF} is missing), and were restored"
    remedy = "Write the files as unsigned integers, with BZERO"
    note = Doubt("wrapped_counts", text, remedy, severity=Severity.NOTE, value=np.count_nonzero(negative))
    mended = np.where(negative, image + np.float32(_WHOLE), image).astype(np.float32)
    return mended, attrs.evolve(storage, zero=float(_HALF)), (note,)


def _background(image: Floats) -> tuple[float, float]:
    """Return the median and the robust scatter of an image, at least 1."""
    sample = image[:: max(1, image.shape[0] // 500)]
    finite = sample[np.isfinite(sample)]
    median = float(np.median(finite)) if finite.size else 0.0
    scatter = scatter_about_zero(finite - median) if finite.size else 0.0
    return median, max(scatter, 1.0)


def _in_bright_cores(image: Floats, holes: Bools, bright: float) -> tuple[Bools, int]:
    """Return which of the holes have a rim brighter than a level, and how many separate ones these are."""
    square = np.ones((3, 3), bool)
    labels, number = scipy.ndimage.label(holes, square)
    rim = scipy.ndimage.grey_dilation(labels, footprint=square)
    rim[holes | ~np.isfinite(image)] = 0
    level = scipy.ndimage.median(image, rim, np.arange(1, number + 1)) if number else np.zeros(0)
    inside = np.asarray(np.nan_to_num(level, nan=-np.inf)) > bright
    return np.asarray(np.r_[False, inside][labels]), int(inside.sum())
