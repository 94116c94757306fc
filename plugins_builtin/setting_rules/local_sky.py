"""Whether stars are measured above the sky of their own stamp, or above the frame's sky alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import Decision, Evidence, Floats, FrameEvidence, Ints
from plugins_builtin.engine.robust import robust_scatter
from plugins_builtin.shared.surroundings import surroundings

#: The sky around a star lies between these radii, times the seeing.
_INNER, _OUTER = 2.5, 5.0
#: Noise-equivalent area of a Gaussian star, times the square of the seeing: pi / (2 ln 2).
_AREA = 2.27
#: A constant a stamp is worth its noise where the frame's sky moves fluxes by this share of their sky noise.
_SHARE = 0.5
_FEWEST, _MOST = 8, 60


@attrs.frozen
class LocalSky:
    """A constant a stamp where what the frame's sky leaves around stars is more than the noise of their pixels."""

    results_version: ClassVar[int] = 1
    settings: ClassVar[tuple[str, ...]] = ("photometry.starred.background_per_epoch",)
    before: ClassVar[str] = "star_photometry"
    frames: ClassVar[int] = 10
    shared: ClassVar[bool] = False

    def decide(self, evidence: Evidence) -> Sequence[Decision]:
        """Return whether stars need a sky of their own, by the levels around them."""
        found = [r for f in evidence.frames if (r := _residual_sky(f)) is not None]
        if not found:
            return ()
        ratio = float(np.median(found))
        why = (
            f"what the frame's sky leaves around stars moves fluxes by {ratio:.2f} of their sky noise; "
            f"from {_SHARE:g} on a constant in each stamp is worth its noise"
        )
        return (Decision(self.settings[0], ratio > _SHARE, why, len(found)),)

    def differ(self, setting: str, old: Any, new: Any) -> bool:
        """Return whether new frames need a sky a stamp where the others did not."""
        return bool(new and not old)


def _residual_sky(frame: FrameEvidence) -> float | None:
    """Return the error that levels around stars give to their fluxes, in units of the sky's noise; None: not known."""
    stars, seeing = frame.stars(), frame.values["seeing_pixels"]
    rms = frame.values["background_rms_electron_per_second"]
    if not len(stars) or not seeing or not rms:
        return None
    image, flags = frame.image()
    use = np.flatnonzero(np.asarray(stars["usable"], bool))[:_MOST]
    rings = [_ring(image, flags, float(stars["x"][i]), float(stars["y"][i]), seeing) for i in use]
    found = np.array([r for r in rings if r is not None])
    if len(found) < _FEWEST:
        return None
    level, error = found.T
    # The wings of the PSF raise all rings by their share of the star; what counts is how the levels differ.
    scatter = robust_scatter(level)
    excess = max(scatter**2 - float(np.median(error)) ** 2, 0.0)
    return float(np.sqrt(excess * _AREA) * seeing / rms)


def _ring(image: Floats, flags: Ints, x: float, y: float, seeing: float) -> tuple[float, float] | None:
    """Return the median level around a star and its error, e-/s a pixel; None where too few pixels are good."""
    around = surroundings(image, flags, x, y, _OUTER, seeing)
    if around is None:
        return None
    ring = (around.radius >= _INNER) & (around.radius < _OUTER)
    good = ring & around.good
    if np.count_nonzero(good) < 0.5 * np.count_nonzero(ring):
        return None
    pixels = around.pixels[good]
    return float(np.median(pixels)), 1.2533 * robust_scatter(pixels) / float(np.sqrt(len(pixels)))


@hookimpl
def lcf_setting_rules() -> dict[str, type]:
    """Offer the rule ``local-sky``."""
    return {"local-sky": LocalSky}
