"""The PSF objective and its gradient written out, for kernels without distortion: half the time of what JAX derives."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from plugins_builtin.engine.starlet import smoothing_matrices
from plugins_builtin.engine.target import target_matrix_pair


class DataGradient(NamedTuple):
    """Derivatives of half the chi2."""

    kernel: Float[Array, "m m"]
    amplitude: Float[Array, " stars"]
    x: Float[Array, " stars"]
    y: Float[Array, " stars"]


def half_chi2(
    kernel: Float[Array, "m m"],
    amplitude: Float[Array, " stars"],
    x: Float[Array, " stars"],
    y: Float[Array, " stars"],
    data: Float[Array, "stars n n"],
    inverse_variance: Float[Array, "stars n n"],
    subsampling: int,
    fwhm: float,
    sum_type: DTypeLike,
) -> tuple[Float[Array, ""], DataGradient]:
    """Return half the chi2 of stars with one `kernel`, and its gradient.

    With the target matrices A_y and A_x, ``T = A_y K``, ``g = -iv (data - a T A_x.T)`` and ``U = a g A_x``, the
    gradient by the kernel K is ``sum A_y.T U``, by y ``<dA_y, U K.T>``, by x ``<dA_x, a g.T T>``.
    """
    stars, n, _ = data.shape
    m = kernel.shape[-1]
    rows, row_slopes = target_matrix_pair(y, n, subsampling, fwhm, m, xp=jnp)
    columns, column_slopes = target_matrix_pair(x, n, subsampling, fwhm, m, xp=jnp)
    # All stars in one matrix: one large product is faster than many small ones.
    left = (rows.reshape(stars * n, m) @ kernel).reshape(stars, n, m)
    image = left @ jnp.swapaxes(columns, -1, -2)
    residual = data - amplitude[:, None, None] * image
    slope = -inverse_variance * residual
    value = -0.5 * jnp.sum(slope * residual, dtype=sum_type)
    by_amplitude = jnp.sum(slope * image, axis=(-1, -2))
    slope = amplitude[:, None, None] * slope
    right = (slope @ columns).reshape(stars * n, m)
    by_kernel = rows.reshape(stars * n, m).T @ right
    by_y = jnp.sum(row_slopes * (right @ kernel.T).reshape(stars, n, m), axis=(-1, -2))
    by_x = jnp.sum(column_slopes * (jnp.swapaxes(slope, -1, -2) @ left), axis=(-1, -2))
    return value, DataGradient(by_kernel, by_amplitude, by_x, by_y)


def penalty(
    correction: Float[Array, "m m"],
    weight: Float[Array, "scales m m"],
    softness: float | Float[Array, ""],
    sum_type: DTypeLike,
) -> tuple[Float[Array, ""], Float[Array, "m m"]]:
    """Return the sum of ``sqrt((weight w)^2 + softness^2) - softness`` over starlet details w, and its gradient.

    A `softness` of 0 makes it the absolute value itself.
    """
    m = correction.shape[-1]
    smooth = jnp.asarray(smoothing_matrices(m), correction.dtype)
    detail = starlet_details(correction)
    scaled = weight * detail
    # The formula has no difference of large numbers; the 1e-30 keeps the gradient finite for a softness of 0.
    root = jnp.sqrt(scaled**2 + softness**2 + 1e-30)
    value = jnp.sum(scaled**2 / (root + softness), dtype=sum_type)
    slope = weight * scaled / root
    # Detail j is smoothing j - 1 minus smoothing j, so each smoothing is part of two details.
    sides = jnp.concatenate([slope[1:], jnp.zeros_like(slope[:1])]) - slope
    return value, slope[0] + smooth.reshape(-1, m).T @ (sides @ smooth).reshape(-1, m)


def starlet_details(image: Float[Array, "m m"]) -> Float[Array, "scales m m"]:
    """Return the starlet details of an image, in its own precision."""
    smooth = jnp.asarray(smoothing_matrices(image.shape[-1]), image.dtype)
    # All scales in one matrix: one large product is faster than many small ones.
    coarse = (smooth.reshape(-1, image.shape[-1]) @ image).reshape(smooth.shape) @ jnp.swapaxes(smooth, -1, -2)
    return jnp.concatenate([image[None], coarse[:-1]]) - coarse
