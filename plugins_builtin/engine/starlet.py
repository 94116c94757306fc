"""Starlets as dense matrices, and the noise of their coefficients in closed form.

The starlet transform (Starck, Fadili and Murtagh 2007, IEEE Trans. Image Process. 16, 297) smooths an image repeatedly
with the kernel ``[1, 4, 6, 4, 1] / 16``, whose taps are twice as far apart each time, with zeros beyond the border. The
detail coefficients are differences of successive smoothings,
``w_j = c_(j-1) - c_j`` with ``c_0`` the image. Each smoothing is separable: ``c_j = P_j X P_j.T``.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from lcframework.types import Floats
from plugins_builtin.engine.target import target_matrix

_KERNEL = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0


def number_of_scales(m: int) -> int:
    """Return how many detail scales an image of m x m pixels has."""
    return int(np.log2(m))


@lru_cache(maxsize=16)
def smoothing_matrices(m: int) -> Float[Floats, "scales {m} {m}"]:
    """Return the smoothings ``P_1 ... P_J``."""
    rows = np.arange(m)
    product = np.eye(m)
    matrices = []
    for scale in range(number_of_scales(m)):
        step = np.zeros((m, m))
        for tap, weight in zip(range(-2, 3), _KERNEL, strict=True):
            source = rows + tap * 2**scale
            inside = (source >= 0) & (source < m)
            step[rows[inside], source[inside]] += weight
        product = step @ product
        matrices.append(product)
    result = np.array(matrices)
    result.setflags(write=False)
    return result


def details(image: Float[Floats, "*stack m m"]) -> Float[Floats, "*stack scales m m"]:
    """Return the detail coefficients of images."""
    smooth = smoothing_matrices(image.shape[-1])
    coarse = smooth @ image[..., None, :, :] @ np.swapaxes(smooth, -1, -2)
    return np.concatenate([image[..., None, :, :], coarse[..., :-1, :, :]], axis=-3) - coarse


def details_transposed(coefficients: Float[Floats, "scales m m"]) -> Float[Floats, "m m"]:
    """Return the transpose of :func:`details` applied to coefficients."""
    smooth = smoothing_matrices(coefficients.shape[-1])
    # Detail j is smoothing j - 1 minus smoothing j.
    by_smoothing = -coefficients
    by_smoothing[:-1] += coefficients[1:]
    back = smooth.swapaxes(1, 2) @ by_smoothing @ smooth
    image: Floats = coefficients[0] + back.sum(axis=0)
    return image


def noise_weights(
    noise: Float[Floats, "*stack n n"], subsampling: int, fwhm: float
) -> Float[Floats, "*stack scales m m"]:
    """Return the standard deviation of each detail coefficient of ``B.T (n / sigma^2)``.

    ``n`` is noise on small pixels, B the convolution with the target Gaussian: STARRED's weights, which it draws with
    random numbers. The variance of a linear map of independent pixels is the map of their variances with squared
    coefficients, and the coefficients of ``w_j`` are differences of two separable terms, so three separable products
    give it exactly: with ``R_j = P_j G`` and all squares elementwise,

        ``W_j^2 = R_(j-1)^2 V (R_(j-1)^2).T - 2 (R_(j-1) R_j) V (R_(j-1) R_j).T + R_j^2 V (R_j^2).T``

    Parameters
    ----------
    noise : array
        One sigma of the data, everywhere finite and positive.
    subsampling : int
        Small pixels across a data pixel.
    fwhm : float
        FWHM of the target Gaussian, small pixels.
    """
    m = noise.shape[-1] * subsampling
    gaussian = target_matrix(np.zeros(()), m, 1, fwhm)
    smooth = np.concatenate([np.eye(m)[None], smoothing_matrices(m)]) @ gaussian
    inverse = np.repeat(np.repeat(1.0 / noise**2, subsampling, axis=-2), subsampling, axis=-1)[..., None, :, :]
    square, cross = smooth**2, smooth[:-1] * smooth[1:]
    own = square @ inverse @ np.swapaxes(square, -1, -2)
    mixed = cross @ inverse @ np.swapaxes(cross, -1, -2)
    variance = own[..., :-1, :, :] - 2.0 * mixed + own[..., 1:, :, :]
    weights: Floats = np.sqrt(np.maximum(variance, 0.0))
    return weights
