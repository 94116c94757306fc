"""Cutting stamps out of a frame, with their noise maps and masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lcframework.types import Bools, Floats

if TYPE_CHECKING:
    from astropy.table import Table

#: A neighbour is masked up to the radius where its profile falls to this many times the background's rms.
NEIGHBOUR_LEVEL = 0.5
#: ... in units of its own rms size; wings are wider than a Gaussian's, hence the floor.
NEIGHBOUR_REACH = (3.0, 7.0)


def corner_of(x: float, y: float, size: int) -> tuple[int, int]:
    """Return the first pixel of the stamp whose centre is nearest to (x, y)."""
    half = (size - 1) / 2
    return int(np.floor(x - half + 0.5)), int(np.floor(y - half + 0.5))


def own_radius(seeing: float) -> float:
    """Return the radius, in pixels, within which a source counts as the star itself."""
    return max(3.0, 1.5 * seeing)


def cut(image: Any, corner: tuple[int, int], size: int, fill: float) -> Any:
    """Return a stamp (size, size); pixels outside the image are `fill`."""
    x0, y0 = corner
    out = np.full((size, size), fill, image.dtype)
    ny, nx = image.shape
    ys, xs = slice(max(y0, 0), min(y0 + size, ny)), slice(max(x0, 0), min(x0 + size, nx))
    if ys.start < ys.stop and xs.start < xs.stop:
        out[ys.start - y0 : ys.stop - y0, xs.start - x0 : xs.stop - x0] = image[ys, xs]
    return out


def noise_map(stamp: Floats, rms: float, exptime: float) -> Floats:
    """Return one sigma in e-/s: the rms of sky and detector, and the photon noise of the light above the sky.

    `stamp` must include the excess of hot pixels, because it contributes to the noise.
    """
    return np.sqrt(np.float32(rms**2) + np.maximum(stamp, 0) / np.float32(exptime)).astype(np.float32)


def neighbour_mask(
    sources: Table, corner: tuple[int, int], size: int, own: tuple[float, float], own_radius: float, rms: float
) -> Bools:
    """Return the mask (size, size) of pixels that other sources than the stamp's own object cover.

    Parameters
    ----------
    sources : Table
        All sources of the frame.
    corner, size : (int, int), int
        The first pixel and the size of the stamp.
    own : (float, float)
        Position (x, y) of the stamp's object in the frame.
    own_radius : float
        Sources within this many pixels of it are not neighbours.
    rms : float
        Rms of the background, e-/s.
    """
    out = np.zeros((size, size), bool)
    if len(sources) == 0:
        return out
    x, y = np.asarray(sources["x"], float), np.asarray(sources["y"], float)
    distance = np.hypot(x - own[0], y - own[1])
    a, b = np.asarray(sources["a"], float), np.asarray(sources["b"], float)
    peak = np.asarray(sources["flux"], float) / (2 * np.pi * np.maximum(a * b, 0.1))
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.sqrt(2 * np.log(np.maximum(peak / (NEIGHBOUR_LEVEL * rms), 1)))
    reach = np.clip(reach, *NEIGHBOUR_REACH)
    centre = np.add(corner, (size - 1) / 2)
    near = (distance > own_radius) & (np.hypot(x - centre[0], y - centre[1]) < size * 0.75 + reach * a)
    yy, xx = np.mgrid[:size, :size]
    for i in np.flatnonzero(near):
        dx, dy = xx + corner[0] - x[i], yy + corner[1] - y[i]
        c, s = np.cos(float(sources["theta"][i])), np.sin(float(sources["theta"][i]))
        along, across = c * dx + s * dy, -s * dx + c * dy
        out |= (along / max(a[i], 0.7)) ** 2 + (across / max(b[i], 0.7)) ** 2 < reach[i] ** 2
    return out
