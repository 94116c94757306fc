"""A PSF that varies over the frame: a kernel plus polynomials in the position times a few smooth images.

At a position in the frame, u being relative to the stars that were fitted, the kernel is

    ``K(u) = s(u) (K_0 + sum_k p_k(u) D_k)``,  p = 1, u, v, u^2, u v, v^2

The images D_k are sums of Gauss-Hermite functions as wide as the PSF (those of shapelets; Refregier 2003, MNRAS 338,
35): widths, elongations, coma and their like are the first of them. Flux and the scale of a kernel that varies are
degenerate, so s(u) makes all kernels' light within `NORMALISED_WITHIN` FWHM of their centres that of K(0), whose sum is
1: PSF fluxes are then on one scale over the field, that of discs of this radius. Outside the stars' own region the
kernel is that of the region's nearest edge: a polynomial is not to be trusted beyond its data.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from lcframework.types import FWHM_PER_SIGMA, Floats
from plugins_builtin.engine.target import convolve_target

#: Kernels that vary are normalised by their light within this radius, FWHM.
NORMALISED_WITHIN = 1.7
#: Sum of the two indices of the Gauss-Hermite functions, at most.
DEGREE = 6
#: Names under which a variation is kept in `PSF.distortion`.
IMAGES, FRAME, NORM = "variation", "variation_frame", "variation_norm"
#: Number of polynomials up to orders 0, 1, 2.
TERMS = (1, 3, 6)

# Where the kernels within the stars' reach are looked at: directions, and steps from the middle on.
_DIRECTIONS, _STEPS = 48, 5
# Small pixels: narrower Gauss-Hermite functions can't be sampled.
_LEAST_SIGMA = 0.6


def equivalent_fwhm(full: Float[Floats, "m m"], subsampling: int) -> float:
    """Return the FWHM, data pixels, of the Gaussian that has the same noise-equivalent area as a full PSF.

    For a Gaussian the sum of squares of its normalised pixels is ``1 / (4 pi sigma^2)``.
    """
    share = full / full.sum()
    return float(FWHM_PER_SIGMA / np.sqrt(4.0 * np.pi * (share**2).sum()) / subsampling)


def own_frame(xy: Float[Floats, "stars 2"]) -> Float[Floats, " 7"]:
    """Return the coordinates u that suit stars at `xy`: their mean place, a matrix that makes them round, their reach.

    In the plane of u the stars' standard deviation is 1/2 along all directions, and none is further out than the reach.
    """
    centre = xy.mean(axis=0)
    covariance = np.cov((xy - centre).T) + 1e-6 * np.eye(2)
    matrix = 0.5 * np.linalg.inv(np.linalg.cholesky(covariance))
    reach = np.hypot(*(matrix @ (xy - centre).T)).max()
    return np.concatenate([centre, matrix.ravel(), [reach]])


def polynomials(xy: Float[Floats, "n 2"], frame: Float[Floats, " 7"], terms: int) -> Float[Floats, "n {terms}"]:
    """Return the polynomials at positions of the frame, those beyond the stars' reach drawn in to it."""
    moved = (np.asarray(xy, float) - frame[:2]) @ frame[2:6].reshape(2, 2).T
    length = np.hypot(*moved.T)
    moved = moved * np.minimum(1.0, frame[6] / np.maximum(length, 1e-9))[:, None]
    u, v = moved.T
    return np.stack([np.ones_like(u), u, v, u * u, u * v, v * v][:terms], axis=1)


def degrees_of_terms(terms: int) -> Float[Floats, " {terms}"]:
    """Return the degree of each polynomial."""
    return np.array([0.0, 1.0, 1.0, 2.0, 2.0, 2.0][:terms])


@lru_cache(maxsize=4)
def indices() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the indices along x and along y of the two-dimensional functions, those of the lowest degrees first."""
    pairs = [(i, total - i) for total in range(DEGREE + 1) for i in range(total + 1)]
    return tuple(i for i, _ in pairs), tuple(j for _, j in pairs)


def hermite_functions(m: int, sigma: float) -> Float[Floats, "functions {m}"]:
    """Return the Gauss-Hermite functions of width `sigma` small pixels on `m` small pixels, orthonormal."""
    t = (np.arange(m) - 0.5 * (m - 1)) / sigma
    values = [np.exp(-0.5 * t**2) / np.sqrt(np.sqrt(np.pi) * sigma)]
    values.append(np.sqrt(2.0) * t * values[0])
    for k in range(2, DEGREE + 1):
        values.append(np.sqrt(2.0 / k) * t * values[-1] - np.sqrt((k - 1) / k) * values[-2])
    return np.array(values)


def width_of_functions(fwhm: float, subsampling: int, target_fwhm: float) -> float:
    """Return the sigma, small pixels, of functions as wide as the narrow PSF of a full one of `fwhm` pixels."""
    squared = (fwhm * subsampling) ** 2 - target_fwhm**2
    return max(float(np.sqrt(max(squared, 0.0))) / FWHM_PER_SIGMA, _LEAST_SIGMA)


def images_of(
    coefficients: Float[Floats, "terms b"], functions: Float[Floats, "functions m"]
) -> Float[Floats, "terms m m"]:
    """Return the sums of two-dimensional functions."""
    across, up = indices()
    square = np.zeros((len(coefficients), DEGREE + 1, DEGREE + 1))
    square[:, up, across] = coefficients
    return np.asarray(functions.T @ square @ functions)


def light_within(
    kernels: Float[Floats, "*stack m m"], radius: float, subsampling: int, target_fwhm: float
) -> Float[Floats, "*stack"]:
    """Return the light of full PSFs within `radius` data pixels of their centres."""
    m = kernels.shape[-1]
    grid = np.arange(m) - 0.5 * (m - 1)
    disc = np.clip(radius * subsampling - np.hypot(grid[:, None], grid) + 0.5, 0.0, 1.0)
    return np.asarray((convolve_target(kernels, target_fwhm) * disc).sum(axis=(-1, -2)))


def normalised(
    kernels: Float[Floats, "n m m"], light: float, radius: float, subsampling: int, target_fwhm: float
) -> Float[Floats, "n m m"]:
    """Return kernels with the same `light` within a radius."""
    found = light_within(kernels, radius, subsampling, target_fwhm)
    return kernels * (light / np.maximum(found, 0.05 * light))[:, None, None]


def least_light(variation: Mapping[str, Floats], subsampling: int, target_fwhm: float) -> float:
    """Return the least light that a kernel within the stars' reach has before its normalisation, over K(0)'s.

    It is linear in the polynomials. Beyond the reach kernels are those of its edge, so this holds for all positions.
    """
    images = np.asarray(variation[IMAGES], float)
    light, radius = (float(value) for value in variation[NORM])
    angle = np.linspace(0.0, 2.0 * np.pi, _DIRECTIONS, endpoint=False)
    along = float(variation[FRAME][6]) * np.linspace(0.0, 1.0, _STEPS)[:, None]
    unmoved = np.concatenate([np.zeros(2), np.eye(2).ravel(), variation[FRAME][6:]])
    u = np.stack([along * np.cos(angle), along * np.sin(angle)], axis=-1).reshape(-1, 2)
    weights = polynomials(u, unmoved, len(images) + 1)[:, 1:]
    change = weights @ light_within(images, radius, subsampling, target_fwhm)
    return float(1.0 + change.min() / light)


def varied_kernels(
    narrow: Float[Floats, "m m"],
    variation: Mapping[str, Floats],
    xy: Float[Floats, "n 2"],
    subsampling: int,
    target_fwhm: float,
) -> Float[Floats, "n m m"]:
    """Return the kernels at positions `xy` of the frame, pixels.

    Parameters
    ----------
    narrow : (m, m) array
        The kernel at the stars' mean position, sum 1.
    variation : mapping
        The images of the polynomials but the constant one, the coordinates, and light and radius of the normalisation.
    xy : (n, 2) array
        Positions.
    subsampling : int
        Small pixels across a data pixel.
    target_fwhm : float
        Of the target Gaussian, small pixels.
    """
    images = np.asarray(variation[IMAGES], float)
    light, radius = (float(value) for value in variation[NORM])
    weights = polynomials(np.atleast_2d(xy), np.asarray(variation[FRAME], float), len(images) + 1)[:, 1:]
    return normalised(narrow + np.tensordot(weights, images, 1), light, radius, subsampling, target_fwhm)
