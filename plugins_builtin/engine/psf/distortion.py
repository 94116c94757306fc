"""Distortion of a kernel over the field: STARRED's dilation and shear, linear in the position in the frame.

Six numbers: the coefficients by x and y of the dilation along x, of that along y, and of the shear. At a position the
kernel's pixels move by ``[[1 + dilation_x, shear], [shear, 1 + dilation_y]]``, which STARRED applies to (row, column)
coordinates; the image is interpolated linearly and keeps its sum and its centre.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

#: Names of the three pairs of coefficients, in the order in which they are stored.
NAMES = ("dilation_x", "dilation_y", "shear")


def scaled_positions(xy: Any, frame_shape: tuple[int, int]) -> Any:
    """Return positions (..., 2) from the frame's centre in units of its sides, from -0.5 to 0.5."""
    ny, nx = frame_shape
    sides = np.array([nx, ny], float)
    return (np.asarray(xy, float) - 0.5 * (sides - 1.0)) / sides


def distort(kernel: Any, coefficients: Any, position: Any, *, xp: Any = np) -> Any:
    """Return `kernel` (m, m) as it is at `position` (2,), a scaled position, for `coefficients` (6,)."""
    m = kernel.shape[-1]
    first, second, shear = (coefficients[2 * k] * position[0] + coefficients[2 * k + 1] * position[1] for k in range(3))
    a, d = 1.0 + first, 1.0 + second
    determinant = a * d - shear**2
    centre = 0.5 * (m - 1)
    grid = (np.arange(m) - centre).astype(kernel.dtype)
    rows, columns = grid[:, None], grid[None, :]
    from_row = (d * rows - shear * columns) / determinant + centre
    from_column = (a * columns - shear * rows) / determinant + centre
    moved = _bilinear(kernel, from_row, from_column, xp)
    return moved * (xp.sum(kernel) / xp.sum(moved))


def _bilinear(image: Any, rows: Any, columns: Any, xp: Any) -> Any:
    """Return `image` at fractional pixels by linear interpolation, with zeros outside."""
    m = image.shape[-1]
    low_row, low_column = xp.floor(rows), xp.floor(columns)
    row_part, column_part = rows - low_row, columns - low_column
    total = 0.0
    for row, row_weight in ((low_row, 1.0 - row_part), (low_row + 1, row_part)):
        for column, column_weight in ((low_column, 1.0 - column_part), (low_column + 1, column_part)):
            inside = (row >= 0) & (row < m) & (column >= 0) & (column < m)
            i = xp.clip(row, 0, m - 1).astype("int32")
            j = xp.clip(column, 0, m - 1).astype("int32")
            total = total + xp.where(inside, image[i, j] * row_weight * column_weight, 0.0)
    return total


def named(coefficients: Any) -> dict[str, Any]:
    """Return the six coefficients as three pairs under STARRED's names."""
    return {name: np.asarray(coefficients[2 * k : 2 * k + 2], float) for k, name in enumerate(NAMES)}


def kernels_at(kernel: Any, distortion: Mapping[str, Any], xy: Any, frame_shape: tuple[int, int]) -> Any:
    """Return `kernel` (n, m, m) at positions `xy` (n, 2) of the frame, pixels; copies where there is no distortion."""
    xy = np.atleast_2d(np.asarray(xy, float))
    if not distortion:
        return np.repeat(kernel[None], len(xy), axis=0)
    coefficients = np.concatenate([np.asarray(distortion[name], float) for name in NAMES])
    return np.array([distort(kernel, coefficients, place) for place in scaled_positions(xy, frame_shape)])
