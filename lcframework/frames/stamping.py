"""Cutting stamps out of a frame, with their noise maps and masks."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from astropy.table import Table

from lcframework.types import Bools, Floats, Ints, PixelFlag

#: A neighbour is masked out to where its profile falls to this many times the background's rms.
NEIGHBOUR_LEVEL = 0.5
#: ... in units of its own rms size; wings are wider than a Gaussian's, hence the floor.
NEIGHBOUR_REACH = (3.0, 7.0)


def corner_of(x: float, y: float, size: int) -> tuple[int, int]:
    """Return the first pixel of the stamp whose centre is nearest to (x, y)."""
    half = (size - 1) / 2
    return int(np.floor(x - half + 0.5)), int(np.floor(y - half + 0.5))


def cut(image: Any, corner: tuple[int, int], size: int, fill: float) -> Any:
    """Return a stamp (size, size); what lies outside the image is `fill`."""
    x0, y0 = corner
    out = np.full((size, size), fill, image.dtype)
    ny, nx = image.shape
    ys, xs = slice(max(y0, 0), min(y0 + size, ny)), slice(max(x0, 0), min(x0 + size, nx))
    if ys.start < ys.stop and xs.start < xs.stop:
        out[ys.start - y0 : ys.stop - y0, xs.start - x0 : xs.stop - x0] = image[ys, xs]
    return out


def noise_map(stamp: Floats, rms: float, exptime: float) -> Floats:
    """Return one sigma in e-/s: the sky's and detector's rms, and the photon noise of what stands above the sky.

    `stamp` is as counted, before a hot pixel's excess is subtracted: what was counted makes the noise.
    """
    return np.sqrt(np.float32(rms**2) + np.maximum(stamp, 0) / np.float32(exptime)).astype(np.float32)


def neighbour_mask(
    sources: Table, corner: tuple[int, int], size: int, own: tuple[float, float], own_radius: float, rms: float
) -> Bools:
    """Return where sources other than the stamp's own reach.

    Parameters
    ----------
    sources : Table
        All sources of the frame.
    corner, size : (int, int), int
        The stamp.
    own : (float, float)
        Position (x, y) in the frame of what is to be measured.
    own_radius : float
        Sources within this many pixels of it are not neighbours.
    rms : float
        Of the background, e-/s.
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


@attrs.frozen(eq=False)
class HotPixels:
    """What a detector's pixels show without light: an excess to subtract, and pixels that can't be mended."""

    excess: Floats  # (ny, nx) e-/s; 0 for a good pixel
    bad: Bools  # (ny, nx)


def hot_pixel_map(frames: list[tuple[Floats, Ints, Table]], sigma: float = 6.0, unstable: float = 3.0) -> HotPixels:
    """Find the pixels that stay bright while the field drifts over them.

    The median in time of sky-subtracted frames, each frame's sources left out, has no stars where the field moves. A
    steady excess is subtracted, which keeps a pixel under a star's core; masking it would cost more than it brings.

    Parameters
    ----------
    frames : list of (image, flags, sources)
        All of one shape; e-/s.
    sigma : float
        A pixel is hot where the median exceeds this many times its usual spread.
    unstable : float
        A pixel is bad where its scatter in time exceeds this many times the usual one: its excess comes and goes.
    """
    stack = np.stack([_without_sources(*frame) for frame in frames])
    seen = np.isfinite(stack).sum(axis=0) >= max(3, len(frames) // 4)
    median = np.where(seen, _nanmedian(stack), np.nan)
    scatter = np.where(seen, 1.4826 * _nanmedian(np.abs(stack - median)), np.nan)
    level, usual = np.nanmedian(median), np.nanmedian(scatter)
    spread = 1.4826 * np.nanmedian(np.abs(median - level))
    with np.errstate(invalid="ignore"):
        hot = np.abs(median - level) > sigma * spread
        bad = hot & (scatter > unstable * usual)
    return HotPixels(np.where(hot & ~bad, median - level, 0).astype(np.float32), np.asarray(bad))


def _nanmedian(stack: Floats) -> Floats:
    ordered = np.sort(stack, axis=0)  # nan goes last
    count = np.isfinite(ordered).sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(stack) - 1)
    middle = np.take_along_axis(ordered, low[None], 0) + np.take_along_axis(ordered, high[None], 0)
    return np.asarray(middle[0] / 2)


def _without_sources(image: Floats, flags: Ints, sources: Table) -> Floats:
    out = image.astype(np.float32).copy()
    out[(flags & (PixelFlag.BLANK | PixelFlag.SATURATED).value) > 0] = np.nan
    ny, nx = out.shape
    for row in sources:
        if row["fwhm"] < 1.2:  # a hot pixel passes for a narrow source: that one must stay in the median
            continue
        r = int(np.ceil(max(4.0, 4.0 * float(row["a"]))))
        x, y = round(float(row["x"])), round(float(row["y"]))
        out[max(y - r, 0) : min(y + r + 1, ny), max(x - r, 0) : min(x + r + 1, nx)] = np.nan
    return out
