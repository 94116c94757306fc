"""Point sources on data pixels: the target Gaussian as a separable operator on a kernel.

A kernel (a narrow PSF) is sampled on small pixels, `subsampling` of them across a data pixel. Its centre is the
geometric centre of its array. A point source is the kernel convolved with a Gaussian of `fwhm` small pixels (the
target of the deconvolution) centred on the source, then summed over blocks of small pixels. Both steps are separable,
so with the matrices of :func:`target_matrix` the image of a source at ``(x, y)`` from the stamp's centre is

    ``flux * A(y) @ kernel @ A(x).T``

As in STARRED, the Gaussian is sampled at the centres of small pixels, and its samples are normalised to sum 1 at every
sub-pixel phase. That differs from the integral by a factor that depends on the phase (7e-7 for 2 small pixels, more for
narrower targets). By Poisson's summation formula the sum of samples of a unit Gaussian is
``1 + 2 sum_k exp(-2 (pi k sigma)^2) cos(2 pi k phase)``.

A `fwhm` of 0 means that the kernel is a full PSF; it is then shifted by cubic-spline interpolation, twice
continuously differentiable in the offset.

Every function works in NumPy, and with ``xp=jax.numpy`` inside traced code; the result has the offset's dtype.
"""

from __future__ import annotations

import math
import operator
from functools import lru_cache, reduce
from types import ModuleType
from typing import TYPE_CHECKING, Literal, TypeVar, overload

import numpy as np
from jaxtyping import Float

from lcframework.types import FWHM_PER_SIGMA, Floats

if TYPE_CHECKING:
    from jax import Array

    #: Arrays of NumPy or of JAX.
    AnyArray = TypeVar("AnyArray", Floats, Array)
else:
    # JAX takes long to import, and most fits do not need it: evaluated annotations accept arrays of any type.
    AnyArray = TypeVar("AnyArray")

# Harmonics of the sampled Gaussian's norm: exact to 1e-16 down to a FWHM of 0.5 small pixels.
_HARMONICS = np.arange(1, 8)


def target_matrix(
    offset: Float[AnyArray, "*stack"],
    n: int,
    subsampling: int,
    fwhm: float,
    m: int | None = None,
    *,
    xp: ModuleType = np,
) -> Float[AnyArray, "*stack {n} m"]:
    """Return the 1-D operator from a kernel to the data pixels of a source at `offset`.

    Parameters
    ----------
    offset : (*stack) array
        The source's position relative to the stamp's geometric centre, data pixels.
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
    (*stack, n, m) array
        Each column sums to 1, less the part outside the stamp.
    """
    return _matrices(offset, n, subsampling, fwhm, m, xp, slope=False)[0]


def target_matrix_pair(
    offset: Float[AnyArray, "*stack"],
    n: int,
    subsampling: int,
    fwhm: float,
    m: int | None = None,
    *,
    xp: ModuleType = np,
) -> tuple[Float[AnyArray, "*stack {n} m"], Float[AnyArray, "*stack {n} m"]]:
    """Return :func:`target_matrix` and its derivative by `offset`, per data pixel; both cost little more than one."""
    return _matrices(offset, n, subsampling, fwhm, m, xp, slope=True)


def point_sources(
    kernels: Float[AnyArray, "*#stack my mx"],
    x: Float[AnyArray, "*#stack"],
    y: Float[AnyArray, "*#stack"],
    n: int,
    subsampling: int,
    fwhm: float,
    *,
    xp: ModuleType = np,
) -> Float[AnyArray, "*stack {n} {n}"]:
    """Return images of unit point sources at (x, y), data pixels from their stamps' centres.

    The other parameters are those of :func:`target_matrix`.
    """
    rows = target_matrix(y, n, subsampling, fwhm, kernels.shape[-2], xp=xp)
    columns = target_matrix(x, n, subsampling, fwhm, kernels.shape[-1], xp=xp)
    return rows @ kernels @ columns.swapaxes(-1, -2)


def convolve_target(
    kernels: Float[AnyArray, "*stack my mx"], fwhm: float, *, xp: ModuleType = np
) -> Float[AnyArray, "*stack my mx"]:
    """Return kernels convolved with the target Gaussian: full PSFs on small pixels."""
    if fwhm == 0:
        return kernels
    zero: AnyArray = xp.zeros((), kernels.dtype)
    rows = target_matrix(zero, kernels.shape[-2], 1, fwhm, xp=xp)
    columns = target_matrix(zero, kernels.shape[-1], 1, fwhm, xp=xp)
    return rows @ kernels @ columns.T


@overload
def _matrices(
    offset: AnyArray, n: int, subsampling: int, fwhm: float, m: int | None, xp: ModuleType, slope: Literal[False]
) -> tuple[AnyArray, None]: ...


@overload
def _matrices(
    offset: AnyArray, n: int, subsampling: int, fwhm: float, m: int | None, xp: ModuleType, slope: Literal[True]
) -> tuple[AnyArray, AnyArray]: ...


def _matrices(
    offset: AnyArray, n: int, subsampling: int, fwhm: float, m: int | None, xp: ModuleType, slope: bool
) -> tuple[AnyArray, AnyArray | None]:
    """Return the operator and, where asked for, its derivative."""
    offset = xp.asarray(offset)
    size = n * subsampling
    m = size if m is None else m
    # Both arrays are centred on their geometric centres, which may lie between pixels.
    differences = (np.arange(size) - 0.5 * (size - 1))[:, None] - (np.arange(m) - 0.5 * (m - 1))[None, :]
    grid: AnyArray = xp.asarray(differences, offset.dtype)[(None,) * offset.ndim]
    shift = subsampling * offset[..., None, None]
    # The small pixels of a block are added one by one: a reduction over a reshaped axis is slow in compiled code.
    distances = [grid[..., k::subsampling, :] - shift for k in range(subsampling)]
    if fwhm == 0:
        filtered: AnyArray = xp.asarray(_prefilter(m), offset.dtype)
        values: AnyArray = _sum([_spline(d, xp) for d in distances]) @ filtered
        return values, -subsampling * _sum([_spline_slope(d, xp) for d in distances]) @ filtered if slope else None
    sigma = fwhm / FWHM_PER_SIGMA
    norm, norm_slope = _sampled_norm(subsampling * offset + 0.5 * ((size - m) % 2), sigma, xp)
    inverse = (1.0 / norm)[..., None, None]
    parts: list[AnyArray] = [inverse * xp.exp((-0.5 / sigma**2) * d**2) for d in distances]
    values = _sum(parts)
    if not slope:
        return values, None
    moments = _sum([part * d for part, d in zip(parts, distances, strict=True)])
    return values, subsampling * (moments / sigma**2 - values * norm_slope[..., None, None] * inverse)


def _sum(parts: list[AnyArray]) -> AnyArray:
    return reduce(operator.add, parts)


def _sampled_norm(
    phase: Float[AnyArray, "*stack"], sigma: float, xp: ModuleType
) -> tuple[Float[AnyArray, "*stack"], Float[AnyArray, "*stack"]]:
    """Return the sum of samples of ``exp(-d^2 / 2 sigma^2)`` and its derivative by the phase (small pixels)."""
    scale = sigma * math.sqrt(2.0 * math.pi)
    weights = 2.0 * np.exp(-2.0 * (np.pi * _HARMONICS * sigma) ** 2)
    # Whole pixels are subtracted first: in float32 the phase would lose its digits otherwise.
    angle = 2.0 * math.pi * (phase - xp.round(phase))
    norm: AnyArray = xp.ones_like(angle)
    slope: AnyArray = xp.zeros_like(angle)
    for k, weight in zip(_HARMONICS.tolist(), weights.tolist(), strict=True):
        if weight > 1e-18:
            norm = norm + weight * xp.cos(k * angle)
            slope = slope - 2.0 * math.pi * k * weight * xp.sin(k * angle)
    return scale * norm, scale * slope


@lru_cache(maxsize=16)
def _prefilter(m: int) -> Float[Floats, "{m} {m}"]:
    """Return the matrix from samples to the coefficients of the cubic spline through them, zero outside."""
    collocation: Floats = np.diag(np.full(m, 4.0 / 6.0))
    collocation += np.diag(np.full(m - 1, 1.0 / 6.0), 1) + np.diag(np.full(m - 1, 1.0 / 6.0), -1)
    return np.linalg.inv(collocation)


def _spline(d: Float[AnyArray, "*stack"], xp: ModuleType) -> Float[AnyArray, "*stack"]:
    """Return the cubic cardinal B-spline at `d`."""
    r = xp.abs(d)
    near = 2.0 / 3.0 - r**2 + 0.5 * r**3
    far = xp.clip(2.0 - r, 0.0, None) ** 3 / 6.0
    values: AnyArray = xp.where(r < 1.0, near, far)
    return values


def _spline_slope(d: Float[AnyArray, "*stack"], xp: ModuleType) -> Float[AnyArray, "*stack"]:
    """Return the derivative of the cubic cardinal B-spline at `d`."""
    r = xp.abs(d)
    near = -2.0 * r + 1.5 * r**2
    far = -0.5 * xp.clip(2.0 - r, 0.0, None) ** 2
    slopes: AnyArray = xp.sign(d) * xp.where(r < 1.0, near, far)
    return slopes
