"""The gain from the noise of images, compared with that of the headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lcframework.config.sections import Frames
from lcframework.frames.header_cards import as_number, looks_like
from lcframework.frames.photon_transfer import PAIRS, central, halves, measure_gain
from lcframework.frames.raw_frames import read_raw
from lcframework.frames.samples import at_equal_steps, pairs_alike
from lcframework.header_doctor.reading import FileReading
from lcframework.types import DataUnit, MeasuredGain, UnusableInput


def measured_gain(files: Sequence[FileReading], settings: Frames) -> MeasuredGain:
    """Measure the gain on pairs of successive frames of equal exposure, or on single frames."""
    usable = [f for f in files if f.header is not None and min(f.shape) > 0]
    usable.sort(key=lambda f: (f.info.mjd_start if f.info else 0.0, f.path.name))
    pairs = pairs_alike(usable, lambda f: (f.shape, _exposure(f), f.info.band if f.info else ""))
    whole = all(f.header.get("BITPIX", -32) > 0 for f in usable if f.header is not None)
    try:
        if pairs:
            chosen = at_equal_steps(pairs, PAIRS)
            return measure_gain(((_counts(a, settings), _counts(b, settings)) for a, b in chosen), whole)
        return measure_gain((halves(_counts(f, settings)) for f in at_equal_steps(usable, PAIRS)), whole)
    except (UnusableInput, OSError) as error:
        return MeasuredGain(np.nan, np.nan, (np.nan, np.nan), np.nan, 0, 0, str(error))


def _exposure(f: FileReading) -> float:
    if f.info is not None:
        return f.info.exptime
    assert f.header is not None
    keys = looks_like([f.header], "exptime")
    return (as_number(f.header[keys[0]]) or 0.0) if keys else 0.0


def _counts(f: FileReading, settings: Frames) -> Any:
    image = central(read_raw(f.path, settings).image)
    per_second = f.info is not None and f.info.data_unit in (DataUnit.ADU_PER_SECOND, DataUnit.ELECTRON_PER_SECOND)
    return image * np.float32(f.info.exptime) if per_second and f.info else image


def gain_verdict(measured: MeasuredGain, gains: Sequence[float]) -> str:
    """Return in words how the gain of the headers compares with the measured gain."""
    if not np.isfinite(measured.gain):
        return f"can't be measured from the noise: {measured.reason}"
    text = f"{measured.gain:.3g} +- {measured.whole_error:.2g} e-/unit from the noise"
    if measured.shared != 1:
        text += f" of sums, {measured.shared:.1f} times that of independent pixels: resampled frames?"
    text += f" ({measured.blocks} blocks of {measured.pairs} pairs, levels {measured.levels[0]:.0f} to "
    text += f"{measured.levels[1]:.0f})"
    wrong = [g for g in sorted(set(gains)) if measured.excludes(g)]
    if wrong:
        listed = ", ".join(f"{g:g}" for g in wrong)
        return (
            f"CHECK: {text}, but the header gives {listed}: flux errors would be wrong by {_factor(wrong[0], measured)}"
        )
    return f"{text}: agrees" if gains else text


def _factor(gain: float, measured: MeasuredGain) -> str:
    ratio = np.sqrt(measured.gain / gain)
    return f"a factor {max(ratio, 1 / ratio):.2f} where photon noise rules"
