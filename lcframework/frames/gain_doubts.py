"""What a raw frame's pixels say against its header's gain: counts that were shifted, and noise too large for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs
import numpy as np

from lcframework.frames.header_cards import LOOKS, as_number
from lcframework.frames.squares import squares
from lcframework.frames.stored_numbers import Storage
from lcframework.types import DataUnit, Doubt, Floats, HeaderInfo, Severity
from lcframework.types.robust import SIGMA_PER_MAD

if TYPE_CHECKING:
    from astropy.io import fits

#: Of all pixels, those that must be multiples of a step; cosmetic corrections make others.
_ALL = 0.999
#: A step is told by so many different values, and no step of this many bits is one of shifted counts.
_DIFFERENT, _MOST_BITS = 20, 12
#: No detector of visible light has more noise without light, e- rms; infrared arrays in single reads come near it.
GREATEST_READ_NOISE = 50.0
#: Nor has one whose converter has less than 16 bits more than this in practice.
USUAL_READ_NOISE = 30.0
#: A gain is doubted where it exceeds what the noise allows by this factor, or makes the noise less than this, e- rms.
_BEYOND, _LEAST_NOISE = 3.0, 0.05
#: By how much the pixels of a detector may differ in sensitivity, relative rms; more than so many times the bound is no
#: matter of that.
_UNLIKE_PIXELS, _FAR_BEYOND = 0.05, 20.0
#: The noise is that of the quietest squares of the frame, this part of them left aside as quieter yet.
_QUIET = 0.2
#: Differences between pixels so far apart: the nearest of one colour in a mosaic, and beyond.
_LAGS = (2, 4)


@attrs.frozen
class Noise:
    """The noise of a frame's background, and the level that it belongs to."""

    rms: float  # in the raw unit
    level: float  # in the raw unit, with the bias


def gain_doubts(
    image: Floats, storage: Storage, header: fits.Header, info: HeaderInfo, bits: int, chosen: bool = False
) -> tuple[Doubt, ...]:
    """Return doubts about the gain of a raw frame.

    Parameters
    ----------
    image : (ny, nx) array
        In the raw unit; nan where blank.
    storage : Storage
        How the file stores it.
    header : Header
        The frame's.
    info : HeaderInfo
        What the header says.
    bits : int
        By how many the counts were shifted: of :func:`shifted_bits`.
    chosen : bool
        Whether the user gave the gain: then it is that of the counts as they are.
    """
    if info.data_unit is not DataUnit.ADU or storage.scale != 1.0:
        return ()
    doubts = []
    noise = background_noise(image) if storage.bits > 0 else None
    if bits >= 2 and not chosen and _is_in(header, info.gain):
        doubts.append(_shifted(bits, info.gain, noise))
    if noise is not None and noise.rms > 0:
        greatest = greatest_gain(noise, max(GREATEST_READ_NOISE, 2 * np.nan_to_num(info.read_noise)))
        if info.gain > _BEYOND * greatest:
            # Before the flat, pixels of unlike sensitivity look like noise: of infrared detectors by several per cent.
            unlike = noise.rms < _UNLIKE_PIXELS * noise.level and info.gain < _FAR_BEYOND * greatest
            doubts.append(_too_large(info.gain, greatest, noise, unlike))
        elif info.gain * noise.rms < _LEAST_NOISE:
            doubts.append(_too_small(info.gain, noise))
    return tuple(doubts)


def _shifted(bits: int, gain: float, noise: Noise | None) -> Doubt:
    step = 2**bits
    # What the sky's photons do not account for is the read-out's, however much of the level is bias.
    readout = (gain * noise.rms) ** 2 - gain * noise.level if noise is not None else 0.0
    return Doubt(
        "shifted_counts",
        f"all values are multiples of {step}: counts were shifted by {bits} bits, and the header's gain, {gain:g} "
        "e-/ADU, is probably that of the counts before",
        f"Set gain in [header.fits]: {gain / step:g} if the camera gives {gain:g} e- for one step of its converter, "
        f"{gain:g} if for one unit of the file",
        severity=Severity.SERIOUS if readout > USUAL_READ_NOISE**2 else Severity.DOUBT,
        value=step,
    )


def _too_large(gain: float, greatest: float, noise: Noise, unlike: bool) -> Doubt:
    return Doubt(
        "gain_too_large",
        f"a gain of {gain:g} e-/ADU makes the background's noise, {noise.rms:.3g} ADU, {gain * noise.rms:.3g} e-: sky "
        f"and read-out of any detector have less at a level of {noise.level:.4g} ADU, which allows {greatest:.2g} "
        "e-/ADU at most" + (", unless its pixels differ in sensitivity" if unlike else ""),
        "Set gain (e-/ADU) in [header.fits]; `lcf headers` measures it. GAIN may be a setting of the camera",
        severity=Severity.DOUBT if unlike else Severity.SERIOUS,
        value=gain / greatest,
    )


def _too_small(gain: float, noise: Noise) -> Doubt:
    return Doubt(
        "gain_too_small",
        f"a gain of {gain:g} e-/ADU makes the background's noise, {noise.rms:.3g} ADU, {gain * noise.rms:.2g} e-: no "
        "detector has so little",
        "Set gain (e-/ADU) in [header.fits]; `lcf headers` measures it",
        severity=Severity.SERIOUS,
        value=gain * noise.rms,
    )


def _is_in(header: fits.Header, gain: float) -> bool:
    """Whether a card that looks like a gain holds this one, so that it was read and not set or measured."""
    for card in header.cards:
        if any(re.search(look, card.keyword) for look in LOOKS["gain"]) and as_number(card.value) == gain:
            return True
    return False


def shifted_bits(image: Floats) -> int:
    """Return by how many bits a frame's counts were shifted: 2^k divides all differences of its values.

    0 where values are no integers, or so few differ that it can't be told. The greatest values are left aside: where
    counts clip, some cameras write the greatest number instead.

    Parameters
    ----------
    image : (ny, nx) array
        In the raw unit; nan where blank.
    """
    sample = image[:: max(1, image.shape[0] * image.shape[1] // 200_000)]
    finite = sample[np.isfinite(sample)].astype(np.float64)
    if finite.size == 0 or np.abs(finite).max() >= 2**31:
        return 0
    kept = finite[finite < finite.max()]
    numbers = kept.astype(np.int64)
    if len(numbers) == 0 or np.mean(numbers == kept) < _ALL:
        return 0
    values, counts = np.unique(numbers, return_counts=True)
    distance = np.abs(values - values[np.argmax(counts)])
    bits = 0
    while bits < _MOST_BITS and _divides(2 ** (bits + 1), distance, counts):
        bits += 1
    return bits


def _divides(step: int, distance: np.ndarray, counts: np.ndarray) -> bool:
    whole = distance % step == 0
    return int(np.count_nonzero(whole)) >= _DIFFERENT and bool(counts[whole].sum() >= _ALL * counts.sum())


def background_noise(image: Floats) -> Noise | None:
    """Return the noise of the quiet squares of a frame; None where none can be measured.

    It is measured by the differences of pixels a few steps apart, in which gradients and stars' light all but cancel,
    in each square apart: crowded ones are not among the quiet. What is left of structure makes it larger; smoothing
    that reaches further than the steps makes it smaller.

    Parameters
    ----------
    image : (ny, nx) array
        In the raw unit; nan where blank.
    """
    some = squares(image)
    some = some[:: max(1, len(some) // 300)]
    some = some[np.isfinite(some).all(axis=(1, 2))]
    if len(some) == 0:
        return None
    each = [_scatter(some[:, lag:] - some[:, :-lag]) for lag in _LAGS]
    each += [_scatter(some[:, :, lag:] - some[:, :, :-lag]) for lag in _LAGS]
    rms = np.min(each, axis=0)
    level = np.median(some, axis=(1, 2))
    measured = np.flatnonzero(rms > 0)
    if len(measured) == 0:
        return None
    chosen = measured[np.argsort(rms[measured])[int(_QUIET * (len(measured) - 1))]]
    return Noise(float(rms[chosen]), float(level[chosen]))


def _scatter(difference: Floats) -> Floats:
    """Return the rms of a pixel in each square, from the differences of two, those that stand out left aside."""
    # Of integers the median is one too: it is good enough to clip by alone.
    limit = 4 * SIGMA_PER_MAD * np.maximum(np.median(np.abs(difference), axis=(1, 2), keepdims=True), 1e-3)
    limit = np.maximum(limit, np.where(difference == np.round(difference), 1.5, 0.0).max(axis=(1, 2), keepdims=True))
    inside = np.abs(difference) <= limit
    return np.asarray(np.sqrt(np.mean(difference**2, axis=(1, 2), where=inside) / 2))


def greatest_gain(noise: Noise, read_noise: float = GREATEST_READ_NOISE) -> float:
    """Return the greatest gain, e-/ADU, that a background's noise allows.

    The variance in electrons is that of the photons, no more than the level in electrons, as the bias only adds to it,
    and the detector's: ``(g rms)^2 <= g level + read_noise^2``.

    Parameters
    ----------
    noise : Noise
        The background's.
    read_noise : float
        The greatest that the detector may have, e-.
    """
    level = max(noise.level, 0.0)
    return float((level + np.sqrt(level**2 + 4 * noise.rms**2 * read_noise**2)) / (2 * noise.rms**2))
