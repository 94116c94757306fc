"""Flux and position of sources that are too faint for a best fit: posterior means over the positions.

Below a signal-to-noise ratio of about 6 the best-fitting position jumps between peaks of the noise, and the flux there
is not normally distributed about the true flux. The posterior mean has no such problem at any signal, not even at zero,
where positive and negative peaks cancel. For a flat prior on the flux, the flux (and the pedestal) can be integrated
out at each position in closed form, and the posterior of the position is

    ``p(x, y) ~ sigma(x, y) exp(f(x, y)^2 / 2 sigma(x, y)^2) prior(x, y)``

with f the linear estimate of the flux at a position and sigma its error. The flux is the mean of f over p. For brighter
sources it tends to the best fit less the bias that :mod:`plugins_builtin.engine.stars.point_source_fit` subtracts.
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Float

from lcframework.types import Floats
from plugins_builtin.engine.stars.point_source_fit import PointSourceStamps
from plugins_builtin.engine.target import target_matrix

# Spacing of the grid of positions, pixels: 2 standard deviations at a signal-to-noise ratio of 6 in sharp images.
_SPACING = 0.5
_REACH = 2.5  # half width of the grid, in widths of the prior
_MOST_NODES = 31  # along an axis


@attrs.frozen(eq=False)
class FaintSources:
    """Posterior means and covariances."""

    flux: Float[Floats, " n"]
    position: Float[Floats, "n 2"]
    covariance: Float[Floats, "n 3 3"]  # of flux, x, y


def average_over_positions(stamps: PointSourceStamps) -> FaintSources:
    """Return the posterior means of flux and position of each stamp."""
    half = min(int(np.ceil(_REACH * stamps.prior / _SPACING)), _MOST_NODES // 2)
    nodes = np.linspace(-_REACH * stamps.prior, _REACH * stamps.prior, 2 * half + 1)
    results = [_one(stamps.take(slice(i, i + 1)), nodes) for i in range(len(stamps))]
    return FaintSources(
        np.array([r[0] for r in results]), np.array([r[1] for r in results]), np.array([r[2] for r in results])
    )


def _one(
    stamps: PointSourceStamps, nodes: Float[Floats, " nodes"]
) -> tuple[float, Float[Floats, " 2"], Float[Floats, "3 3"]]:
    """Return flux, position and covariance of the only stamp."""
    x0, y0 = stamps.expected[0]
    flux, variance = _linear_estimates(stamps, x0 + nodes, y0 + nodes)
    x, y = np.meshgrid(nodes, nodes)
    log_weight = 0.5 * (flux**2 / variance + np.log(variance) - (x**2 + y**2) / stamps.prior**2)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    values = np.stack([flux, x, y])
    mean = np.einsum("aij,ij->a", values, weight)
    deviation = values - mean[:, None, None]
    covariance = np.einsum("aij,bij,ij->ab", deviation, deviation, weight, optimize=True)
    covariance[0, 0] += np.sum(weight * variance)
    return float(mean[0]), np.array([x0 + mean[1], y0 + mean[2]]), covariance


def _linear_estimates(
    stamps: PointSourceStamps, x: Float[Floats, " x"], y: Float[Floats, " y"]
) -> tuple[Float[Floats, "y x"], Float[Floats, "y x"]]:
    """Return flux and its variance at all positions of a grid."""
    ny, nx = stamps.data.shape[1:]
    kernel = stamps.kernels[0]
    rows = target_matrix(y, ny, stamps.subsampling, stamps.fwhm, kernel.shape[0])
    columns = target_matrix(x, nx, stamps.subsampling, stamps.fwhm, kernel.shape[1])
    # Many small products: one large one would be spread over threads that the machine's other workers need.
    images = (rows @ kernel)[:, None] @ columns.swapaxes(1, 2)[None]
    weight, data = stamps.weight[0], stamps.data[0]
    own = np.einsum("yxij,yxij,ij->yx", images, images, weight)
    right = np.einsum("yxij,ij->yx", images, weight * data)
    if stamps.pedestal:
        ones, level = weight.sum(), np.sum(weight * data)
        cross = np.einsum("yxij,ij->yx", images, weight)
        own = own - cross**2 / ones
        right = right - cross * level / ones
    own = np.maximum(own, 1e-12 * own.max())
    return right / own, 1.0 / own
