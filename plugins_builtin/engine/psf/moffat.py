"""The elliptical Moffat, the start of narrow PSFs, in parameters without bounds and without degeneracy at e = 0.

Four numbers: ``(ln fwhm, e1, e2, ln beta)``, with fwhm the geometric mean of the two widths in data pixels and
``|e| = ln(fwhm_major / fwhm_minor)``; the major axis lies at half the angle of (e1, e2), from +x towards +y.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
from jaxtyping import Float

from lcframework.types import Floats
from plugins_builtin.engine.target import AnyArray


def moffat(
    shape: Float[AnyArray, "*stack 4"], m: int, subsampling: int, *, xp: ModuleType = np
) -> Float[AnyArray, "*stack {m} {m}"]:
    """Return the Moffat of parameters `shape` sampled on small pixels, 1 at the array's centre.

    Parameters
    ----------
    shape : array
        ``(ln fwhm, e1, e2, ln beta)``, FWHM in data pixels.
    m : int
        Small pixels along each axis.
    subsampling : int
        Small pixels across a data pixel.
    xp : module
        ``numpy`` or ``jax.numpy``.
    """
    log_fwhm, e1, e2, log_beta = (shape[..., k, None, None] for k in range(4))
    beta = xp.exp(log_beta)
    core = 0.5 * subsampling * xp.exp(log_fwhm) / xp.sqrt(xp.expm1(math.log(2.0) / beta))
    # The metric is exp(-E) / core^2 with E = [[e1, e2], [e2, -e1]]; the small constant keeps the root differentiable.
    e = xp.sqrt(e1**2 + e2**2 + 1e-20)
    even, odd = xp.cosh(e), xp.sinh(e) / e
    grid: AnyArray = xp.asarray(np.arange(m) - 0.5 * (m - 1), shape.dtype)
    x, y = grid[None, :], grid[:, None]
    radius = (even - odd * e1) * x**2 + (even + odd * e1) * y**2 - 2.0 * odd * e2 * x * y
    values: AnyArray = xp.exp(-beta * xp.log1p(radius / core**2))
    return values


def to_starred(shape: Float[Floats, " 4"]) -> dict[str, float]:
    """Return STARRED's parameters (fwhm_x, fwhm_y, phi, beta) of one Moffat, with phi in [0, pi / 2]."""
    log_fwhm, e1, e2, log_beta = (float(value) for value in shape)
    half = 0.5 * np.hypot(e1, e2)
    major, minor = np.exp(log_fwhm + half), np.exp(log_fwhm - half)
    angle = 0.5 * np.arctan2(e2, e1) % np.pi
    if angle > 0.5 * np.pi:
        angle, major, minor = angle - 0.5 * np.pi, minor, major
    return {"fwhm_x": float(major), "fwhm_y": float(minor), "phi": float(angle), "beta": float(np.exp(log_beta))}


def from_starred(fwhm_x: float, fwhm_y: float, phi: float, beta: float) -> Float[Floats, " 4"]:
    """Return our parameters of a Moffat for STARRED's (fwhm_x, fwhm_y, phi, beta)."""
    e = np.log(fwhm_x / fwhm_y)
    return np.array([0.5 * np.log(fwhm_x * fwhm_y), e * np.cos(2 * phi), e * np.sin(2 * phi), np.log(beta)])
