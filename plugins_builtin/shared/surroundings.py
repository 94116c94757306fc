"""The pixels around a position, and how far they are from it."""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.types import Bools, Floats, Ints


@attrs.frozen(eq=False)
class Surroundings:
    """A square part of a frame about a position."""

    pixels: Floats  # (n, n)
    good: Bools  # (n, n) whether no flag is set
    radius: Floats  # (n, n) from the position, in the unit that was asked for


def surroundings(image: Floats, flags: Ints, x: float, y: float, radius: float, unit: float) -> Surroundings | None:
    """Return what lies within a radius of a position; None where that reaches beyond the frame.

    Parameters
    ----------
    image, flags : (ny, nx) arrays
        The frame, and the flags of its pixels.
    x, y : float
        The position, pixels.
    radius : float
        In units of `unit`.
    unit : float
        Pixels, for example the seeing.
    """
    if not (np.isfinite(x) and np.isfinite(y)):
        return None
    reach = int(np.ceil(radius * unit))
    column, row = round(x), round(y)
    ny, nx = image.shape
    if not (reach <= column < nx - reach and reach <= row < ny - reach):
        return None
    part = (slice(row - reach, row + reach + 1), slice(column - reach, column + reach + 1))
    yy, xx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(xx - (x - column), yy - (y - row)) / unit
    return Surroundings(image[part].astype(float), flags[part] == 0, distance)
