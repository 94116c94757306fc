"""The gain of frames whose header gives none: by the photon noise of their sky."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import Decision, Evidence, FrameFlag, MeasuredGain


@attrs.frozen
class GainByNoise:
    """Photon transfer: the variance of the sky grows with its level by 1 / gain (Janesick 2007)."""

    results_version: ClassVar[int] = 2
    settings: ClassVar[tuple[str, ...]] = ("header.gain",)
    before: ClassVar[str] = "read_convert_skysub_character_catalog"
    frames: ClassVar[int] = 9  # eight pairs
    shared: ClassVar[bool] = False

    def decide(self, evidence: Evidence) -> Sequence[Decision]:
        """Return the gain where the frames' levels differ enough to show it; doubt that of headers it excludes."""
        unstated = [f for f in evidence.frames if f.values["flags"] & FrameFlag.GAIN_MEASURED]
        others = [f for f in evidence.frames if not f.values["flags"] & FrameFlag.GAIN_MEASURED]
        stated = [float(f.values["gain"]) for f in others if f.values["gain"]]
        if not unstated and not stated:
            return ()
        measured = evidence.gain()
        if not np.isfinite(measured.gain):
            return (
                Decision("header.gain", None, f"the noise does not tell it: {measured.reason}", len(evidence.frames)),
            )
        low, high = measured.levels
        noise = (
            f"{measured.gain:.3g} +- {measured.whole_error:.2g} e-/ADU by the noise of {measured.pairs} pairs of "
            f"frames at levels from {low:.0f} to {high:.0f} ADU"
        )
        shared = _shared(measured.shared)
        doubt = _doubt(stated, measured, noise + shared)
        if unstated:
            value = float(f"{measured.gain:.3g}")
            if shared and not doubt:
                doubt = f"no header gives the gain: {noise}{shared}. Set gain in [header.fits]"
            return (Decision("header.gain", value, f"no header gives it; {noise}", len(unstated), doubt=doubt),)
        why = f"the headers give {float(np.median(stated)):g} e-/ADU; {noise}"
        return (Decision("header.gain", None, why, len(stated), doubt=doubt),)

    def differ(self, setting: str, old: Any, new: Any) -> bool:
        """Return whether the noise of new frames is that of another gain: by more than a quarter."""
        return old is None or abs(np.log(new / old)) > _DIFFERENT


_DIFFERENT = 0.25


def _doubt(stated: Sequence[float], measured: MeasuredGain, noise: str) -> str:
    """Return the doubt in the gain that headers state; empty where none does, or the noise does not exclude it."""
    if not stated:
        return ""
    header = float(np.median(stated))
    if not measured.excludes(header):
        return ""
    ratio = max(header / measured.gain, measured.gain / header)
    return (
        f"the headers' gain, {header:g} e-/ADU, is excluded by the noise: {noise}. Errors would be wrong by a "
        f"factor of {ratio**0.5:.2f} where photon noise rules; set gain in [header.fits]"
    )


def _shared(ratio: float) -> str:
    """Return what to know of a gain where pixels share their noise; empty where they do not."""
    if ratio == 1:
        return ""
    return (
        f", where sums of pixels have {ratio:.1f} times the variance of independent ones: right where frames were "
        "resampled, and too small a gain where stars without number moved between frames"
    )


@hookimpl
def lcf_setting_rules() -> dict[str, type]:
    """Offer the rule ``gain``."""
    return {"gain": GainByNoise}
