"""From which level pixels are saturated: what the header says, and what the pixels themselves show."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import scipy  # its subpackages load when they are first used

from lcframework.frames.header_cards import as_number
from lcframework.types import Doubt, Floats, Severity

if TYPE_CHECKING:
    from astropy.io import fits

#: A level is one of saturation where as many pixels share it by chance in fewer frames than this.
_CHANCE = 1e-6
#: ... and where converters end (2^n - 1, or that times a power of two).
_CHANCE_AT_AN_END = 1e-2
#: The density of values below a level is measured by so many of them.
_TAIL = 20
#: Levels are looked for among so many of the greatest values: what lies above one are fill values and other levels.
_DEPTH = 200
#: A level has at least this many times the pixels that lie above it at ordinary values.
_OVER_OUTLIERS = 10
#: A level is not these pixels' own where as many are so many times above it, and this share of those above it.
_FAR, _FEWEST_FAR, _SHARE_FAR = 4.0, 10, 0.05
_KEYWORD = re.compile(r"SATUR|SATLEV|MAXLIN")
_REMEDY = "Set [stamps] saturation to the level, in the unit of the raw data, from which the detector is not linear"


def saturation_of(
    image: Floats, top: float, said: float, header: fits.Header, setting: float = 0.0
) -> tuple[float, tuple[Doubt, ...]]:
    """Return the level from which a raw frame's pixels are saturated, and doubts about it.

    Parameters
    ----------
    image : (ny, nx) array
        In the raw unit; nan where blank.
    top : float
        The greatest number that the file's type can hold; inf for floating point.
    said : float
        The header's level as the parser understood it; inf where it says none.
    header : Header
        The frame's.
    setting : float
        The user's level, which holds whatever else is known; 0 for none.

    Returns
    -------
    level : float
        In the raw unit; inf where nothing is saturated as far as one can see.
    doubts : tuple of Doubt
        Where the keyword can't be read or makes no sense, or pixels clip below what header or user say.
    """
    seen = clipped_level(image, top)
    if setting:
        return setting, _below(seen, setting, "[stamps] saturation", corrected=False)
    unread = _unread(header) if not np.isfinite(said) else ""
    if np.isfinite(said) and (why := _impossible(image, said)):
        unread, said = f"{said:g}, {why}", np.inf
    if unread:
        known = np.isfinite(seen)
        told = f"; its pixels clip at {seen:g}, which is used" if known else ", and none of its pixels clips"
        doubt = Doubt(
            "saturation_unreadable",
            f"the header's saturation can't be used: {unread}{told}",
            _REMEDY,
            severity=Severity.NOTE if known else Severity.DOUBT,
            value=seen if known else np.nan,
        )
        return seen, (doubt,)
    return min(seen, said), _below(seen, said, "the header's saturation", corrected=True)


def _below(seen: float, said: float, whose: str, corrected: bool) -> tuple[Doubt, ...]:
    if not (np.isfinite(said) and seen < 0.99 * said):
        return ()
    doubt = Doubt(
        "saturation_below",
        f"pixels clip at {seen:g}, below {whose}, {said:g}, which is {'corrected' if corrected else 'used'}",
        _REMEDY,
        severity=Severity.NOTE if corrected else Severity.DOUBT,
        value=seen,
    )
    return (doubt,)


def _unread(header: fits.Header) -> str:
    """Return the first card that is to say the saturation and says no positive number; empty for none."""
    for card in header.cards:
        if _KEYWORD.search(card.keyword) is None:
            continue
        value = card.value
        number = as_number(value)
        blank = value is None or str(value).strip() == "" or str(type(value).__name__) == "Undefined"
        if not blank and (number is None or not number > 0):
            return f"{card.keyword} = {value!r}"
    return ""


def _impossible(image: Floats, said: float) -> str:
    """Return why a level can't be that of these pixels; empty where it can.

    It is that of other units or modes where half of the pixels exceed it, and that of one exposure where a sum of many
    shows stars' light far above it. A level from which a detector is not linear is passed by less, and stars that clip
    there have pixels just above it, not far above.
    """
    sample = image[:: max(1, image.shape[0] // 500)]
    finite = sample[np.isfinite(sample)]
    if finite.size > 0 and np.median(finite) >= said and float(np.nanmax(image)) >= 2 * said:
        return "which half of the pixels exceed"
    with np.errstate(invalid="ignore"):
        above, far = (int(np.count_nonzero(image >= factor * said)) for factor in (1.0, _FAR))
    if far >= max(_FEWEST_FAR, _SHARE_FAR * above):
        return f"which {far} pixels exceed {_FAR:g} times"
    return ""


def clipped_level(image: Floats, top: float = np.inf) -> float:
    """Return the level at which pixels clip, by what they show; inf where they show none.

    A pixel of a star's core has any value, so that several of a frame's brightest share one by chance alone: a
    level of saturation is one that far more pixels have than the density of values below it makes likely (Poisson),
    or the greatest that the file's type can hold.

    Parameters
    ----------
    image : (ny, nx) array
        In the raw unit; nan where blank.
    top : float
        The greatest number that the file's type can hold; inf for floating point.
    """
    values, counts = _greatest(image)
    found, ordinary = np.inf, 0
    for i in range(min(len(values), _DEPTH)):
        if counts[i] >= _OVER_OUTLIERS * ordinary and _clips(values, counts, i, top):
            found = float(values[i])
        else:
            ordinary += int(counts[i])
    return found


def _greatest(image: Floats) -> tuple[Floats, Floats]:
    """Return the frame's greatest values, the greatest first, and how many pixels have each."""
    finite = image[np.isfinite(image)]
    sample = np.sort(finite[:: max(1, finite.size // 100_000)])
    if sample.size == 0:
        return np.zeros(0), np.zeros(0)
    values, counts = np.zeros(0), np.zeros(0, int)
    for fraction in (0.99, 0.9, 0.5, 0.0):
        values, counts = np.unique(finite[finite >= sample[int(fraction * (len(sample) - 1))]], return_counts=True)
        if len(values) > _DEPTH + _TAIL:
            break
    return values[::-1], counts[::-1]


def _clips(values: Floats, counts: Floats, i: int, top: float) -> bool:
    """Whether the i-th greatest value is one at which pixels clip."""
    if values[i] >= top:
        return bool(len(values) > i + 1)  # a frame of one value is no image
    below = values[i + 1 : i + 1 + _TAIL].astype(float)
    if len(below) < _TAIL or counts[i] < 2:
        return False
    step = float(np.min(-np.diff(below)))
    span = values[i] - below[-1]
    expected = len(below) * float(np.median(counts[i + 1 : i + 1 + _TAIL])) / max(span / step, 1.0)
    chance = float(scipy.special.pdtrc(counts[i] - 2, expected))  # of as many as it has beside the first
    return chance < (_CHANCE_AT_AN_END if _ends_a_converter(float(values[i])) else _CHANCE)


def _ends_a_converter(value: float) -> bool:
    """Whether a value is 2^n - 1, or that times a power of two, for 8 to 24 bits."""
    if not (value > 0 and value == int(value) and value < 2**24):
        return False
    number = int(value)
    number //= number & -number
    return number >= 255 and (number & (number + 1)) == 0
