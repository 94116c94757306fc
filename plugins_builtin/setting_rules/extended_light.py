"""Whether the model of a region needs an image of extended light: a galaxy, a lens, an arc."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.sky.geometry import sky_to_pixel
from lcframework.types import Decision, Evidence, Floats, FrameEvidence
from plugins_builtin.engine.robust import robust_scatter
from plugins_builtin.shared.surroundings import surroundings

#: The sharpest so many frames show it best.
_SHARPEST = 5
#: Light is compared between these radii, times the seeing: the core, the ring around it, the sky.
_CORE, _RING, _SKY = 1.5, 4.0, 6.0
#: A ring is brighter than those of stars where it is so many of their robust deviations above their median, ...
_DEVIATIONS = 3.0
#: ... which is taken to be at least this share of the core's light: a ring of less hardly moves a flux.
_LEAST = 0.01
_FEWEST_STARS = 5


@attrs.frozen
class ExtendedLight:
    """An image of extended light is fitted where sources blend, or the ring around one is brighter than stars' are."""

    results_version: ClassVar[int] = 1
    settings: ClassVar[tuple[str, ...]] = ("roi_model.starred.background", "roi_model.joint.background")
    before: ClassVar[str] = "prepare_calibrated_cutouts"  # which asks whether discs have a source to themselves
    frames: ClassVar[int] = 20
    shared: ClassVar[bool] = False

    def decide(self, evidence: Evidence) -> Sequence[Decision]:
        """Return whether extended light is to be fitted, by the sharpest frames."""
        frames = sorted((f for f in evidence.frames if f.values["seeing_pixels"]), key=_seeing)[:_SHARPEST]
        if not frames:
            return ()
        needed, why = _needed(frames, evidence)
        return tuple(Decision(name, needed, why, len(evidence.frames)) for name in self.settings)

    def differ(self, setting: str, old: Any, new: Any) -> bool:
        """Return whether new frames show light that the model leaves out."""
        return bool(new and not old)


def _seeing(frame: FrameEvidence) -> float:
    return float(frame.values["seeing_pixels"])


def _needed(frames: Sequence[FrameEvidence], evidence: Evidence) -> tuple[bool, str]:
    blended = [name for name, at in evidence.rois.items() if len(at) != 2]
    if blended:
        return True, f"{blended[0]} has {len(evidence.rois[blended[0]]) - 1} point sources"
    found = [_excess(f, evidence) for f in frames]
    known = [e for e in found if e is not None]
    if not known:
        return True, f"fewer than {_FEWEST_STARS} stars show what the ring around a star is like"
    worst = {name: float(np.median([e[name] for e in known])) for name in known[0]}
    name, excess = max(worst.items(), key=lambda item: item[1])
    bright = excess > _DEVIATIONS
    why = (
        f"the ring around {name} is {abs(excess):.1f} deviations {'brighter' if excess > 0 else 'fainter'} than those "
        f"of stars, in the {len(known)} sharpest frames; {_DEVIATIONS:g} show extended light"
    )
    return bright, why


def _excess(frame: FrameEvidence, evidence: Evidence) -> dict[str, float] | None:
    """Return how many deviations each region's ring is above those of stars; None where too few stars tell."""
    image, flags = frame.image()
    seeing = _seeing(frame)
    stars = frame.stars()
    stars = stars[np.asarray(stars["usable"], bool)] if len(stars) else stars
    if len(stars) < _FEWEST_STARS:
        return None
    # The noise of faint stars' rings says nothing of their PSF.
    bright = np.argsort(-np.asarray(stars["signal_to_noise"], float))[: max(_FEWEST_STARS, len(stars) // 2)]
    rings = [_ring(image, flags, float(stars["x"][i]), float(stars["y"][i]), seeing) for i in bright]
    good = np.array([r for r in rings if r is not None])
    if len(good) < _FEWEST_STARS:
        return None
    median = float(np.median(good))
    deviation = max(robust_scatter(good), _LEAST)
    out = {}
    for name, at in evidence.rois.items():
        x, y = sky_to_pixel(frame.wcs(), at[1:2, 0], at[1:2, 1])
        ring = _ring(image, flags, float(x[0]), float(y[0]), seeing)
        out[name] = 0.0 if ring is None else (ring - median) / deviation
    return out


def _ring(image: Floats, flags: Any, x: float, y: float, seeing: float) -> float | None:
    """Return the light in the ring around a position in units of its core's; None where it has bad pixels."""
    around = surroundings(image, flags, x, y, _SKY, seeing)
    if around is None:
        return None
    stamp, good, radius = around.pixels, around.good, around.radius
    core, ring, sky = radius < _CORE, (radius >= _CORE) & (radius < _RING), (radius >= _RING) & (radius < _SKY)
    if not good[core].all() or not (good & sky).any() or not (good & ring).any():
        return None
    level = float(np.median(stamp[sky & good]))
    light = float(np.sum(stamp[core] - level))
    # A neighbour covers a part of a ring: the median of its pixels is that of the ring itself.
    of_ring = float(np.median(stamp[ring & good]) - level) * np.count_nonzero(ring)
    return of_ring / light if light > 0 else None


@hookimpl
def lcf_setting_rules() -> dict[str, type]:
    """Offer the rule ``extended-light``."""
    return {"extended-light": ExtendedLight}
