"""Amplitudes and positions of stars whose kernels are held, by Gauss-Newton; optionally robust against outliers."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from lcframework.types import Floats
from plugins_builtin.engine.target import target_matrix_pair

#: Standard deviations beyond which residuals have less weight in a robust fit (Huber 1964, Ann. Math. Stat. 35, 73).
HUBER = 1.5


def unit_slopes(
    kernel: Float[Floats, "*stars m m"],
    x: Float[Floats, " stars"],
    y: Float[Floats, " stars"],
    n: int,
    subsampling: int,
    fwhm: float,
) -> Float[Floats, "stars 3 n n"]:
    """Return the images of stars of unit flux, and their derivatives by x and y; one kernel for all, or one each."""
    rows, row_slopes = target_matrix_pair(y, n, subsampling, fwhm, kernel.shape[-1])
    columns, column_slopes = target_matrix_pair(x, n, subsampling, fwhm, kernel.shape[-1])
    left, columns = rows @ kernel, np.swapaxes(columns, -1, -2)
    by_x, by_y = left @ np.swapaxes(column_slopes, -1, -2), row_slopes @ kernel @ columns
    return np.stack([left @ columns, by_x, by_y], axis=1)


def refit_stars(
    kernel: Float[Floats, "*stars m m"],
    data: Float[Floats, "stars n n"],
    weight: Float[Floats, "stars n n"],
    start: tuple[Float[Floats, " stars"], Float[Floats, " stars"], Float[Floats, " stars"]],
    subsampling: int,
    fwhm: float,
    *,
    tolerated: float = 0.0,
    robust: bool = False,
    rounds: int = 4,
) -> tuple[Float[Floats, " stars"], Float[Floats, " stars"], Float[Floats, " stars"]]:
    """Return amplitudes, x and y with the kernels held.

    Parameters
    ----------
    kernel : (m, m) or (stars, m, m) array
        One kernel for all stars, or one for each.
    data, weight : (stars, n, n) arrays
        Data and inverse variance, 0 where a pixel is not used.
    start : tuple of three (stars,) arrays
        Amplitudes, x and y to start from.
    subsampling, fwhm
        Of the target (:mod:`plugins_builtin.engine.target`).
    tolerated : float
        Error of the model relative to itself, in the weights.
    robust : bool
        Whether large residuals have less weight: in least squares a bright cosmic ray moves its star, until all of the
        star's pixels have large residuals.
    rounds : int
        Steps.
    """
    a, x, y = (np.array(part, float) for part in start)
    for _ in range(rounds):
        unit, by_x, by_y = np.moveaxis(unit_slopes(kernel, x, y, data.shape[-1], subsampling, fwhm), 1, 0)
        strength = a[:, None, None]
        parts = np.stack([unit, strength * by_x, strength * by_y], axis=1).reshape(len(a), 3, -1)
        residual = (data - strength * unit).reshape(len(a), 1, -1)
        own = (weight / (1.0 + weight * (tolerated * strength * unit) ** 2)).reshape(residual.shape)
        if robust:
            own = own * np.minimum(1.0, HUBER / np.maximum(np.abs(residual) * np.sqrt(own), 1e-9))
        hessian = (parts * own) @ np.swapaxes(parts, -1, -2)
        hessian += np.eye(3) * (1e-6 * np.trace(hessian, axis1=1, axis2=2)[:, None, None] + 1e-12)
        step = np.linalg.solve(hessian, (parts * own) @ np.swapaxes(residual, -1, -2))[..., 0]
        a = np.maximum(a + step[:, 0], 0.1 * a)
        x, y = (p + np.clip(d, -0.5, 0.5) for p, d in ((x, step[:, 1]), (y, step[:, 2])))
    return a, x, y
