"""The stamps of a frame's stars and regions: light, noise and masks; regions without the halos of bright stars."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from lcframework.frames.halos import FrameLight, Halo, halos_beside, on_stamp
from lcframework.frames.stamp_targets import StampTarget
from lcframework.frames.stamp_wcs import moved
from lcframework.frames.stamping import corner_of, cut, distance_from, neighbour_mask, noise_map, own_radius
from lcframework.storage.stamp_files import Stamp
from lcframework.types import Floats, PixelFlag


@attrs.frozen(eq=False)
class StampCutter:
    """A frame to cut stamps from.

    Attributes
    ----------
    frame : FrameLight
        Its light, flags and sources.
    excess : (ny, nx) array or None
        Of hot pixels, e-/s.
    wcs, wcs_text : astropy.wcs.WCS, str
        The frame's, and the header that it makes.
    noise_correlation : float
        By how much pixels share their noise; see :func:`noise_map`.
    """

    frame: FrameLight
    excess: Floats | None
    wcs: Any
    wcs_text: str
    noise_correlation: float

    def star(self, target: StampTarget, size: int) -> Stamp:
        """Return the stamp of a star."""
        return self._stamp(target, size, own_radius(self.frame.seeing), [])

    def halos(self, target: StampTarget, size: int, radius: float) -> list[Halo]:
        """Return the halos that reach a region whose own sources are within `radius` pixels."""
        return halos_beside(self.frame, (target.x, target.y), self._near(radius), size)

    def region(self, target: StampTarget, size: int, radius: float, halos: list[Halo]) -> Stamp:
        """Return the stamp of a region without halos; its own sources are within `radius` pixels."""
        return self._stamp(target, size, self._near(radius), halos)

    def _near(self, radius: float) -> float:
        return max(own_radius(self.frame.seeing), radius)

    def _stamp(self, target: StampTarget, size: int, near: float, halos: list[Halo]) -> Stamp:
        frame, own, corner = self.frame, (target.x, target.y), corner_of(target.x, target.y, size)
        counted = cut(frame.image, corner, size, 0.0)
        data = counted - cut(self.excess, corner, size, 0.0) if self.excess is not None else counted
        noise = noise_map(counted, frame.rms, frame.exptime, self.noise_correlation)
        mask = cut(frame.flags, corner, size, PixelFlag.BLANK.value)
        covered = neighbour_mask(frame.sources, corner, data, own, near, frame.rms, frame.seeing)
        if halos:
            around = on_stamp(halos, corner, size)
            data = (data - around.light).astype(data.dtype)
            noise = np.hypot(noise, around.unround).astype(noise.dtype)
            covered |= around.masked(distance_from(own, corner, size) < near, frame.rms)
        mask = mask | np.where(covered, np.uint8(PixelFlag.NEIGHBOUR.value), np.uint8(0))
        half = (size - 1) / 2
        offset = (own[0] - corner[0] - half, own[1] - corner[1] - half)
        return Stamp(data, noise, mask, corner, offset, moved(self.wcs_text, self.wcs.wcs.crpix, corner))
