"""The width of PSFs as pixels see them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from lcframework.types import Floats
from plugins_builtin.engine.target import target_matrix

#: Positions within a pixel at which the light of a source in one pixel is evaluated.
_STEPS = 4


def fwhm_on_pixels(kernels: Float[Floats, "n my mx"], subsampling: int, target_fwhm: float) -> Float[Floats, " n"]:
    """Return the FWHM, pixels, of what a pixel gets of a source by where the source lies: the PSF with the pixel.

    It is the geometric mean of the widths along x and y through the peak, at half of it.

    Parameters
    ----------
    kernels : (n, my, mx) array
        As `Kernels` has them.
    subsampling : int
        Small pixels across a pixel.
    target_fwhm : float
        Small pixels; 0: full PSFs.
    """
    my, mx = kernels.shape[1:]
    rows, columns = (_responses(m, subsampling, target_fwhm) for m in (my, mx))
    out = np.zeros(len(kernels))
    for i, kernel in enumerate(kernels):
        if i and np.array_equal(kernel, kernels[i - 1]):  # the stars of a frame, where its PSF is the same everywhere
            out[i] = out[i - 1]
            continue
        light = rows @ kernel @ columns.T
        y, x = np.unravel_index(int(np.argmax(light)), light.shape)
        out[i] = np.sqrt(_width(light[y], int(x)) * _width(light[:, x], int(y))) / _STEPS
    return out


def _responses(m: int, subsampling: int, target_fwhm: float) -> Float[Floats, "places m"]:
    """Return the operator from a kernel to the light in a pixel at places that are 1 / `_STEPS` pixels apart."""
    n = max(m // subsampling - 1, 1)
    offsets = -np.arange(_STEPS) / _STEPS
    matrices = target_matrix(offsets, n, subsampling, target_fwhm, m)  # (steps, n, m)
    return np.asarray(matrices.swapaxes(0, 1).reshape(n * _STEPS, m))


def _width(profile: Float[Floats, " places"], peak: int) -> float:
    """Return the width of a profile at half of its peak, in steps; to the ends where it does not fall so far."""
    half = 0.5 * profile[peak]
    if not half > 0:
        return 0.0
    return _reach(profile[peak:], half) + _reach(profile[peak::-1], half)


def _reach(falling: Float[Floats, " places"], half: float) -> float:
    below = np.flatnonzero(falling < half)
    if not len(below):
        return float(len(falling) - 1)
    k = int(below[0])
    return k - 1 + float((falling[k - 1] - half) / (falling[k - 1] - falling[k]))
