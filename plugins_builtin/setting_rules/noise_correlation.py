"""Whether neighbouring pixels share their noise, as in frames that were resampled, and by how much errors grow."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeAlias

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.sky.geometry import sky_to_pixel
from lcframework.types import Bools, Decision, Evidence, Floats, FrameEvidence, FrameFlag, Ints
from plugins_builtin.engine.frames.noise_correlation import variance_ratio

#: Below this ratio of variances, errors are within 7 %, and sampling or crowding may be the cause: pixels count as
#: independent.
_LEAST = 1.15
#: Another ratio by so much is another one.
_DIFFERENT = 0.25
#: Pairs are compared on a central part with sides of at most so many pixels, where they overlap by so many at least...
_LARGEST, _SMALLEST = 768, 64
#: ... and whole pixels align them to so many everywhere: neither turns the other.
_ALIGNED = 1.0
_FEWEST_PAIRS = 2

_Images: TypeAlias = Callable[[FrameEvidence], tuple[Floats, Ints]]


@attrs.frozen
class NoiseCorrelation:
    """The variance of fluxes in differences of successive frames, over what the noise of single pixels gives."""

    results_version: ClassVar[int] = 1
    settings: ClassVar[tuple[str, ...]] = ("stamps.noise_correlation",)
    before: ClassVar[str] = "stamp_extraction"
    frames: ClassVar[int] = 9  # eight pairs
    shared: ClassVar[bool] = False

    def decide(self, evidence: Evidence) -> Sequence[Decision]:
        """Return the ratio, 1 where it is about that."""
        images = functools.lru_cache(maxsize=2)(lambda frame: frame.image())  # each is in two pairs
        pairs = itertools.pairwise(evidence.frames)
        alike = [(a, b) for a, b in pairs if a.values.get("band") == b.values.get("band")]
        found = [ratio for a, b in alike if np.isfinite(ratio := _ratio(a, b, images))]
        if len(found) < _FEWEST_PAIRS:
            return ()
        ratio = float(np.median(found))
        value = round(ratio, 2) if ratio >= _LEAST else 1.0
        why = (
            f"in differences of {len(found)} pairs of frames, fluxes have {ratio:.2f} times the variance that their "
            f"pixels' noise gives; from {_LEAST:g} on, neighbouring pixels share it, as resampling makes them"
        )
        return (Decision(self.settings[0], value, why, len(evidence.frames), doubt=_doubt(evidence, value)),)

    def differ(self, setting: str, old: Any, new: Any) -> bool:
        """Return whether the noise of new frames is correlated otherwise: by more than a quarter of the variance."""
        return bool(abs(np.log(new / old)) > _DIFFERENT)


def _doubt(evidence: Evidence, ratio: float) -> str:
    """Return the doubt in a gain that was measured by the noise which pixels share; empty where there is none."""
    if ratio == 1 or not any(f.values["flags"] & FrameFlag.GAIN_MEASURED for f in evidence.frames):
        return ""
    return (
        f"no header gives the gain, and neighbouring pixels share the noise that tells it: it may be up to {ratio:.1f} "
        "times too large. Set gain in [header.fits]"
    )


def _ratio(first: FrameEvidence, second: FrameEvidence, images: _Images) -> float:
    """Return the ratio of variances of a pair; nan where it can't be told."""
    widths = [f.values["seeing_pixels"] for f in (first, second)]
    noises = [f.values["background_rms_electron_per_second"] for f in (first, second)]
    if not all(widths) or not all(noises):
        return float("nan")
    shift = _shift(first, second)
    if shift is None:
        return float("nan")
    (a, b), good = _overlap(images(first), images(second), *shift)
    if min(a.shape) < _SMALLEST:
        return float("nan")
    return variance_ratio(a, b, good, float(np.mean(widths)), float(np.sum(np.square(noises))))


def _shift(first: FrameEvidence, second: FrameEvidence) -> tuple[int, int] | None:
    """Return by how many pixels (x, y) the second frame shows the sky further on; None where that differs within it."""
    width, height = first.values["width"], first.values["height"]
    x, y = (np.ravel(a).astype(float) for a in np.meshgrid([0.25, 0.5, 0.75], [0.25, 0.5, 0.75]))
    x, y = x * width, y * height
    moved = np.array(sky_to_pixel(second.wcs(), *first.wcs().all_pix2world(x, y, 0))) - np.stack([x, y])
    whole = np.rint(np.median(moved, axis=1))
    if not np.all(np.abs(moved - whole[:, None]) <= _ALIGNED):
        return None
    return int(whole[0]), int(whole[1])


def _overlap(
    first: tuple[Floats, Ints], second: tuple[Floats, Ints], dx: int, dy: int
) -> tuple[tuple[Floats, Floats], Bools]:
    """Return the central part of what two frames have in common, and which of its pixels are good in both."""
    rows = _common(first[0].shape[0], second[0].shape[0], dy)
    columns = _common(first[0].shape[1], second[0].shape[1], dx)
    here = (slice(*rows), slice(*columns))
    there = (slice(*(np.array(rows) + dy)), slice(*(np.array(columns) + dx)))
    a, b = first[0][here].astype(float), second[0][there].astype(float)
    good = (first[1][here] == 0) & (second[1][there] == 0) & np.isfinite(a) & np.isfinite(b)
    return (np.where(good, a, 0.0), np.where(good, b, 0.0)), good


def _common(first: int, second: int, shift: int) -> tuple[int, int]:
    """Return where the central part begins and ends in the first frame; empty where nothing is common."""
    low, high = max(0, -shift), min(first, second - shift)
    cut = max(0, (high - low - _LARGEST + 1) // 2)
    return low + cut, max(low + cut, min(high - cut, low + cut + _LARGEST))


@hookimpl
def lcf_setting_rules() -> dict[str, type]:
    """Offer the rule ``noise-correlation``."""
    return {"noise-correlation": NoiseCorrelation}
