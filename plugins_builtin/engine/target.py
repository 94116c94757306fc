"""Point sources on data pixels: the target Gaussian as a separable operator on a kernel.

A kernel (a narrow PSF) lives on small pixels, `subsampling` of them across a data pixel, and its centre is the
geometric centre of its array. A point source is the kernel convolved with a Gaussian of `fwhm` small pixels (the
target of the deconvolution) centred on the source, then summed over blocks of small pixels. Both steps are separable,
so with the matrices of :func:`target_matrix` the image of a source at ``(x, y)`` from the stamp's centre is

    ``flux * A(y) @ kernel @ A(x).T``

The Gaussian is sampled at the centres of small pixels and its samples are normalised to sum 1, at every sub-pixel
phase: this is what STARRED does, and it differs from the integral by a factor that depends on the phase (7e-7 for
2 small pixels, more for narrower targets). By Poisson's summation formula the sum of samples of a unit Gaussian is
``1 + 2 sum_k exp(-2 (pi k sigma)^2) cos(2 pi k phase)``.

A `fwhm` of 0 means that the kernel is a full PSF; it is then shifted by cubic-spline interpolation, twice
continuously differentiable in the offset.

Every function works in NumPy, and with ``xp=jax.numpy`` inside traced code; the result has the offset's dtype.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

#: FWHM of a Gaussian of unit standard deviation.
FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))

# Harmonics of the sampled Gaussian's norm: exact to 1e-16 down to a FWHM of 0.5 small pixels.
_HARMONICS = np.arange(1, 8)


def target_matrix(offset: Any, n: int, subsampling: int, fwhm: float, m: int | None = None, *, xp: Any = np) -> Any:
    """Return the 1-D operator from a kernel to the data pixels of a source at `offset`.

    Parameters
    ----------
    offset : array (...)
        Source's distance from the stamp's geometric centre, data pixels.
    n : int
        Data pixels of the stamp along this axis.
    subsampling : int
        Small pixels across a data pixel.
    fwhm : float
        FWHM of the target Gaussian, small pixels; 0: the kernel is a full PSF.
    m : int, optional
        Small pixels of the kernel along this axis; ``n * subsampling`` where not given.
    xp : module
        ``numpy`` or ``jax.numpy``.

    Returns
    -------
    array (..., n, m)
        Each column sums to 1, but for what falls outside the stamp.
    """
    distance, phase, m = _distance(offset, n, subsampling, m, xp)
    if fwhm == 0:
        return _blocks(_spline(distance, xp) @ _prefilter(m).astype(distance.dtype), n, subsampling)
    sigma = fwhm / FWHM_PER_SIGMA
    norm, _ = _sampled_norm(phase, sigma, xp)
    values = xp.exp(-0.5 * (distance / sigma) ** 2) / norm[..., None, None]
    return _blocks(values, n, subsampling)


def target_matrix_derivative(
    offset: Any, n: int, subsampling: int, fwhm: float, m: int | None = None, *, xp: Any = np
) -> Any:
    """Return the derivative of :func:`target_matrix` by `offset`, (..., n, m), per data pixel."""
    distance, phase, m = _distance(offset, n, subsampling, m, xp)
    if fwhm == 0:
        slope = -_spline_slope(distance, xp) @ _prefilter(m).astype(distance.dtype)
    else:
        sigma = fwhm / FWHM_PER_SIGMA
        norm, norm_slope = _sampled_norm(phase, sigma, xp)
        gaussian = xp.exp(-0.5 * (distance / sigma) ** 2) / norm[..., None, None]
        slope = gaussian * (distance / sigma**2 - (norm_slope / norm)[..., None, None])
    return subsampling * _blocks(slope, n, subsampling)


def point_sources(kernels: Any, x: Any, y: Any, n: int, subsampling: int, fwhm: float, *, xp: Any = np) -> Any:
    """Return images (..., n, n) of unit point sources at (x, y) from their stamps' centres.

    `kernels` is (..., m, m); `x` and `y` are (...), data pixels; the other parameters are those of
    :func:`target_matrix`.
    """
    rows = target_matrix(y, n, subsampling, fwhm, kernels.shape[-2], xp=xp)
    columns = target_matrix(x, n, subsampling, fwhm, kernels.shape[-1], xp=xp)
    return rows @ kernels @ xp.swapaxes(columns, -1, -2)


def convolve_target(kernels: Any, fwhm: float, *, xp: Any = np) -> Any:
    """Return kernels (..., m, m) convolved with the target Gaussian: full PSFs on small pixels."""
    if fwhm == 0:
        return kernels
    zero = xp.zeros((), kernels.dtype)
    rows = target_matrix(zero, kernels.shape[-2], 1, fwhm, xp=xp)
    columns = target_matrix(zero, kernels.shape[-1], 1, fwhm, xp=xp)
    return rows @ kernels @ columns.T


def _distance(offset: Any, n: int, subsampling: int, m: int | None, xp: Any) -> tuple[Any, Any, int]:
    """Return the distances (..., n * subsampling, m) of small pixels from kernel pixels' images, their phase, and m."""
    offset = xp.asarray(offset)
    if not xp.issubdtype(offset.dtype, xp.floating):
        offset = offset.astype(float)
    size = n * subsampling
    m = size if m is None else m
    # Both arrays are centred on their geometric centres, which may lie between pixels.
    grid = (np.arange(size) - 0.5 * (size - 1))[:, None] - (np.arange(m) - 0.5 * (m - 1))[None, :]
    distance = grid.astype(offset.dtype) - subsampling * offset[..., None, None]
    return distance, subsampling * offset + 0.5 * ((size - m) % 2), m


def _sampled_norm(phase: Any, sigma: float, xp: Any) -> tuple[Any, Any]:
    """Return the sum of samples of ``exp(-d^2 / 2 sigma^2)`` and its derivative by the phase (small pixels)."""
    scale = sigma * math.sqrt(2.0 * math.pi)
    weights = 2.0 * np.exp(-2.0 * (np.pi * _HARMONICS * sigma) ** 2)
    # Whole pixels are taken off first: float32 would lose the phase otherwise.
    angle = 2.0 * math.pi * (phase - xp.round(phase))
    norm = xp.ones_like(angle)
    slope = xp.zeros_like(angle)
    for k, weight in zip(_HARMONICS.tolist(), weights.tolist(), strict=True):
        if weight > 1e-18:
            norm = norm + weight * xp.cos(k * angle)
            slope = slope - 2.0 * math.pi * k * weight * xp.sin(k * angle)
    return scale * norm, scale * slope


def _blocks(values: Any, n: int, subsampling: int) -> Any:
    """Sum rows (..., n * subsampling, m) over blocks of `subsampling`."""
    if subsampling == 1:
        return values
    return values.reshape(*values.shape[:-2], n, subsampling, values.shape[-1]).sum(axis=-2)


@lru_cache(maxsize=16)
def _prefilter(m: int) -> Any:
    """Return the (m, m) matrix from samples to the coefficients of the cubic spline through them, zero outside."""
    collocation = np.diag(np.full(m, 4.0 / 6.0))
    collocation += np.diag(np.full(m - 1, 1.0 / 6.0), 1) + np.diag(np.full(m - 1, 1.0 / 6.0), -1)
    return np.linalg.inv(collocation)


def _spline(d: Any, xp: Any) -> Any:
    """Return the cubic cardinal B-spline at `d`."""
    r = xp.abs(d)
    near = 2.0 / 3.0 - r**2 + 0.5 * r**3
    far = xp.clip(2.0 - r, 0.0, None) ** 3 / 6.0
    return xp.where(r < 1.0, near, far)


def _spline_slope(d: Any, xp: Any) -> Any:
    """Return the derivative of the cubic cardinal B-spline at `d`."""
    r = xp.abs(d)
    near = -2.0 * r + 1.5 * r**2
    far = -0.5 * xp.clip(2.0 - r, 0.0, None) ** 2
    return xp.sign(d) * xp.where(r < 1.0, near, far)
