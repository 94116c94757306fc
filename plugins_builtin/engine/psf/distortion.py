"""Distortion of a kernel over the frame: STARRED's dilation and shear, linear in the position in the frame.

It has six numbers: the coefficients by x and by y of the dilation along x, of that along y, and of the shear. At a
position in the frame the kernel's pixels are moved by ``[[1 + dilation_x, shear], [shear, 1 + dilation_y]]``, which
STARRED applies to (row, column) coordinates. The image is interpolated linearly and keeps its sum and its centre.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

import numpy as np
from jaxtyping import Float

from lcframework.types import Floats
from plugins_builtin.engine.target import AnyArray

#: Names of the three pairs of coefficients, in the order in which they are stored.
NAMES = ("dilation_x", "dilation_y", "shear")


def scaled_positions(xy: Float[Floats, "*stack 2"], frame_shape: tuple[int, int]) -> Float[Floats, "*stack 2"]:
    """Return pixel positions (x, y) relative to the frame's centre in units of its sides, from -0.5 to 0.5."""
    ny, nx = frame_shape
    sides = np.array([nx, ny], float)
    scaled: Floats = (np.asarray(xy, float) - 0.5 * (sides - 1.0)) / sides
    return scaled


def distort(
    kernel: Float[AnyArray, "m m"],
    coefficients: Float[AnyArray, " 6"],
    position: Float[AnyArray, " 2"],
    *,
    xp: ModuleType = np,
) -> Float[AnyArray, "m m"]:
    """Return `kernel` distorted for a position in the frame.

    Parameters
    ----------
    kernel : (m, m) array
        The kernel at the frame's centre.
    coefficients : (6,) array
        Of dilation along x, along y, and shear; each by x and by y.
    position : (2,) array
        From :func:`scaled_positions`.
    xp : module
        ``numpy`` or ``jax.numpy``.
    """
    m = kernel.shape[-1]
    first, second, shear = (coefficients[2 * k] * position[0] + coefficients[2 * k + 1] * position[1] for k in range(3))
    a, d = 1.0 + first, 1.0 + second
    determinant = a * d - shear**2
    centre = 0.5 * (m - 1)
    grid: AnyArray = xp.asarray(np.arange(m) - centre, kernel.dtype)
    rows, columns = grid[:, None], grid[None, :]
    from_row = (d * rows - shear * columns) / determinant + centre
    from_column = (a * columns - shear * rows) / determinant + centre
    moved = _bilinear(kernel, from_row, from_column, xp)
    distorted: AnyArray = moved * (kernel.sum() / moved.sum())
    return distorted


def _bilinear(
    image: Float[AnyArray, "m m"], rows: Float[AnyArray, "m m"], columns: Float[AnyArray, "m m"], xp: ModuleType
) -> Float[AnyArray, "m m"]:
    """Return `image` at fractional pixels by linear interpolation, with zeros outside."""
    m = image.shape[-1]
    low_row, low_column = xp.floor(rows), xp.floor(columns)
    row_part, column_part = rows - low_row, columns - low_column
    total: AnyArray = xp.zeros_like(image)
    for row, row_weight in ((low_row, 1.0 - row_part), (low_row + 1, row_part)):
        for column, column_weight in ((low_column, 1.0 - column_part), (low_column + 1, column_part)):
            inside = (row >= 0) & (row < m) & (column >= 0) & (column < m)
            i = xp.clip(row, 0, m - 1).astype("int32")
            j = xp.clip(column, 0, m - 1).astype("int32")
            total = total + xp.where(inside, image[i, j] * row_weight * column_weight, 0.0)
    return total


def named(coefficients: Float[Floats, " 6"]) -> dict[str, Float[Floats, " 2"]]:
    """Return the six coefficients as three pairs under STARRED's names."""
    return {name: np.asarray(coefficients[2 * k : 2 * k + 2], float) for k, name in enumerate(NAMES)}


def kernels_at(
    kernel: Float[Floats, "m m"],
    distortion: Mapping[str, Float[Floats, " 2"]],
    xy: Float[Floats, "*stack 2"],
    frame_shape: tuple[int, int],
) -> Float[Floats, "n m m"]:
    """Return `kernel` distorted for positions `xy` of the frame, pixels; copies where there is no distortion."""
    xy = np.atleast_2d(np.asarray(xy, float))
    if not distortion:
        return np.repeat(kernel[None], len(xy), axis=0)
    coefficients = np.concatenate([np.asarray(distortion[name], float) for name in NAMES])
    return np.array([distort(kernel, coefficients, position) for position in scaled_positions(xy, frame_shape)])
