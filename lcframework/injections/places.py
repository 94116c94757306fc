"""Where sources are drawn: at places of the sky that every frame shows, far from all that is there already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from lcframework.frames.stamping import any_near
from lcframework.injections.star_light import reach_of
from lcframework.sky.geometry import from_plane, sky_to_pixel, to_plane
from lcframework.types import Bools, Floats, Ints

#: Candidates for each place that is asked for.
_CANDIDATES = 40
#: The light of sources there may not exceed this share of the sky's noise in a pixel.
_LEVEL = 0.2
#: Frames in which a place may be blocked: a cosmic ray or a passing satellite leaves the others.
_MOST_BLOCKED = 0.2
#: Around a place so many FWHM may hold no bad pixel.
_CLEAN = 1.5


@attrs.frozen(eq=False)
class Surroundings:
    """What a frame has: its WCS and shape, sources (pixels, e-/s), noise (e-/s), seeing (pixels), and its mask.

    Without sources and mask, only its edges count.
    """

    wcs: Any
    shape: tuple[int, int]
    x: Floats
    y: Floats
    peak: Floats
    rms: float
    fwhm: float
    flags: Ints | None


def find_places(
    frames: Sequence[Surroundings],
    centre: tuple[float, float],
    radius: float,
    count: int,
    apart: float,
    margin: float,
    taken: Floats,
    rng: np.random.Generator,
) -> Floats:
    """Return places (n, 2) in degrees, `count` or as many as there is room for, in random order.

    Parameters
    ----------
    frames : sequence of Surroundings
        Those whose sources count.
    centre : (float, float)
        Of the field, degrees.
    radius : float
        Of the field, arcsec.
    count : int
        How many are wanted.
    apart : float
        Least distance of two places, and of a place from `taken`, arcsec.
    margin : float
        Least distance from the edges of every frame, pixels.
    taken : (m, 2) array
        Places to keep away from, degrees: regions and catalogue stars.
    rng : numpy.random.Generator
        For the candidates.
    """
    n = _CANDIDATES * count
    r, angle = radius * np.sqrt(rng.uniform(size=n)), rng.uniform(0, 2 * np.pi, n)
    xi, eta = r * np.cos(angle), r * np.sin(angle)
    ra, dec = from_plane(xi, eta, *centre)
    inside, blocked = np.ones(n, bool), np.zeros(n)
    for frame in frames:
        here, free = _free(frame, ra, dec, margin)
        inside &= here
        blocked += ~free
    good = inside & (blocked <= _MOST_BLOCKED * len(frames))
    chosen: list[int] = []
    others = _offsets(taken, centre)
    for i in np.flatnonzero(good).tolist():
        near = np.hypot(others[:, 0] - xi[i], others[:, 1] - eta[i]) < apart
        if not near.any():
            chosen.append(i)
            others = np.concatenate([others, [[xi[i], eta[i]]]])
            if len(chosen) == count:
                break
    return np.stack([ra[chosen], dec[chosen]], axis=1)


def _offsets(places: Floats, centre: tuple[float, float]) -> Floats:
    if not len(places):
        return np.zeros((0, 2))
    return np.stack(to_plane(places[:, 0], places[:, 1], *centre), axis=1)


def _free(frame: Surroundings, ra: Floats, dec: Floats, margin: float) -> tuple[Bools, Bools]:
    """Return which places (n,) lie within a frame, and which are free of light and of bad pixels there."""
    from scipy.spatial import cKDTree

    ny, nx = frame.shape
    x, y = sky_to_pixel(frame.wcs, ra, dec)
    with np.errstate(invalid="ignore"):
        inside = (x >= margin) & (y >= margin) & (x <= nx - 1 - margin) & (y <= ny - 1 - margin)
    free = np.ones(len(ra), bool)
    here = np.flatnonzero(inside)
    if not len(here):
        return inside, free
    if len(frame.x):
        reach = reach_of(frame.peak, _LEVEL * frame.rms, frame.fwhm) + 1.5 * frame.fwhm
        tree = cKDTree(np.stack([x[here], y[here]], axis=1))
        for hit in tree.query_ball_point(np.stack([frame.x, frame.y], axis=1), reach):
            free[here[hit]] = False
    if frame.flags is not None:
        for k in here.tolist():
            free[k] &= not any_near(frame.flags, x[k], y[k], _CLEAN * frame.fwhm)
    return inside, free
