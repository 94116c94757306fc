"""Sizes of stamps by the seeing, and whether a map of hot pixels can be made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.sky.geometry import sky_to_pixel
from lcframework.types import Decision, Evidence, Floats

#: The documented sizes, 24 and 32 pixels, belong to a seeing of 5 pixels: they are kept in units of the seeing.
_STAR, _ROI = 4.8, 6.4
#: With photometry in discs: of 1.5 times the seeing, and five times as many pixels of sky around them.
_DISCS = 7.0
#: Optics and pixels widen a PSF's wings by pixels, however sharp its core is.
_SMALLEST_STAR, _SMALLEST_ROI, _LARGEST = 20, 24, 128
#: The time median of a pixel is free of stars, faint ones too, where at most this share of the frames has one pointing,
#: within so many times the seeing.
_SHARE, _POINTING = 0.35, 2.0
_FEWEST_FRAMES = 10
#: A map is made of up to this many frames, in memory at once: of up to this many pixels in all.
_FRAMES_OF_MAP, _MOST_PIXELS = 60, 2**28


@attrs.frozen
class Stamps:
    """Stamps as large as PSFs are wide; hot pixels from drifting fields."""

    results_version: ClassVar[int] = 1
    settings: ClassVar[tuple[str, ...]] = ("stamps.star_size", "stamps.roi_size", "stamps.hot_pixels")
    before: ClassVar[str] = "stamp_extraction"
    frames: ClassVar[int] = 20
    shared: ClassVar[bool] = False

    def decide(self, evidence: Evidence) -> Sequence[Decision]:
        """Return the sizes, and whether hot pixels are looked for."""
        rows = [f for f in evidence.frames if f.values["seeing_pixels"]]
        if not rows:
            return ()
        seeing = float(np.median([f.values["seeing_pixels"] for f in rows]))
        share = _STAR if evidence.discs is None else _DISCS
        star = _even(share * seeing, _SMALLEST_STAR)
        reach = max((_reach(f.wcs(), at) for f in rows[:3] for at in evidence.rois.values()), default=0.0)
        roi = _even(max(_ROI * seeing, 2 * reach + share * seeing), _SMALLEST_ROI)
        text = f"the median seeing is {seeing:.2f} pixels"
        return (
            Decision("stamps.star_size", star, f"{text}; {share:g} times that, at least {_SMALLEST_STAR}", len(rows)),
            Decision(
                "stamps.roi_size",
                roi,
                f"{text}; {_ROI:g} times that, or {share:g} times that about point sources {reach:.1f} pixels out",
                len(rows),
            ),
            *self._hot_pixels(evidence, seeing),
        )

    def _hot_pixels(self, evidence: Evidence, seeing: float) -> Sequence[Decision]:
        frames = evidence.frames
        if len(frames) < _FEWEST_FRAMES or not evidence.rois:
            return ()
        at = next(iter(evidence.rois.values()))[:1]
        xy = np.array([np.ravel(sky_to_pixel(f.wcs(), at[:, 0], at[:, 1])) for f in frames])
        apart = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
        share = float(np.max(np.mean(apart < _POINTING * seeing, axis=1)))
        there = _FRAMES_OF_MAP if len(frames) >= self.frames else len(frames)  # a full sample stands for more frames
        pixels = int(frames[0].values["height"] * frames[0].values["width"]) * there
        moves, fits = share <= _SHARE, pixels <= _MOST_PIXELS
        why = (
            f"up to {share:.0%} of the frames have one pointing, within {_POINTING:g} times the seeing: stars "
            f"{'leave the time median of a pixel' if moves else 'would count as hot pixels'} ({_SHARE:.0%} may)"
        )
        if moves and not fits:
            why += ", but the frames are too large to be compared in memory"
        return (Decision("stamps.hot_pixels", "auto" if moves and fits else "", why, len(frames)),)

    def differ(self, setting: str, old: Any, new: Any) -> bool:
        """Return whether new frames want stamps a third larger or smaller, or move where the others did not."""
        if setting == "stamps.hot_pixels":
            return bool(new == "auto" and old != "auto")
        return old is None or not 0.75 < new / old < 1.33


def _even(size: float, smallest: int) -> int:
    return int(np.clip(2 * round(size / 2), smallest, _LARGEST))


def _reach(wcs: Any, at: Floats) -> float:
    """Return how far point sources lie from their region's position, pixels."""
    x, y = sky_to_pixel(wcs, at[:, 0], at[:, 1])
    return float(np.nanmax(np.hypot(x - x[0], y - y[0])))


@hookimpl
def lcf_setting_rules() -> dict[str, type]:
    """Offer the rule ``stamps``."""
    return {"stamps": Stamps}
