"""Sersic profiles on small pixels, with derivatives.

The profile of total flux L and index n is ``I(R) = L b^2n / (2 pi n Re^2 Gamma(2n)) exp(-b (R / Re)^(1/n))``, with b(n)
such that half the flux lies inside Re (Ciotti & Bertin 1999, A&A 352, 447). ``R^2 = d.T Q d`` with
``Q = exp(-2 [[e1, e2], [e2, -e1]])``, of determinant 1: any (e1, e2) is an ellipse, of axis ratio ``exp(-2 |e|)``, and
Re is the circularised radius.
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Float

from lcframework.types import FWHM_PER_SIGMA, Floats

#: Order of the parameters of one galaxy; centre and radius in arcsec on the tangent plane.
PARAMETERS = ("log_flux", "xi", "eta", "log_radius", "log_index", "e1", "e2")
N_PARAMETERS = len(PARAMETERS)
LIMITS = np.array([[-60.0, 60.0], [-1e4, 1e4], [-1e4, 1e4], [-12.0, 8.0], np.log([0.3, 8.0]), [-1.0, 1.0], [-1.0, 1.0]])

_FINE = 9  # subpixels a side where the profile is steep
_STEEP = 8  # pixels from the centre within which it is


@attrs.frozen(eq=False)
class SkyGrid:
    """A square grid on the tangent plane: point ``[j, i]`` lies at ``origin + spacing * (i, j)``, arcsec."""

    origin: Float[Floats, " 2"]
    spacing: float  # arcsec
    size: int

    def index(self, sky: Float[Floats, "*stack 2"]) -> Float[Floats, " 2 *stack"]:
        """Return fractional indices (row, column) of tangent-plane offsets."""
        ij = (sky - self.origin) / self.spacing
        return np.stack([ij[..., 1], ij[..., 0]])


def bn(n: float) -> float:
    """Return the b of a Sersic index."""
    from scipy.special import gammaincinv

    return float(gammaincinv(2.0 * n, 0.5))


def shape_matrix(e1: float, e2: float) -> Float[Floats, "2 2"]:
    """Return the matrix Q of the ellipse."""
    e = np.hypot(e1, e2)
    ratio = np.sinh(2 * e) / e if e > 1e-8 else 2.0
    matrix: Floats = np.cosh(2 * e) * np.eye(2) - ratio * np.array([[e1, e2], [e2, -e1]])
    return matrix


def surface_brightness(
    theta: Float[Floats, " 7"], sky: Float[Floats, "*stack 2"], soft: float
) -> Float[Floats, " 8 *stack"]:
    """Return a Sersic's brightness and its derivatives at tangent-plane points.

    Parameters
    ----------
    theta : array
        `PARAMETERS`.
    sky : array
        arcsec.
    soft : float
        Softening of the centre, arcsec: ``R^2`` is replaced by ``R^2 + soft^2``.

    Returns
    -------
    array
        e-/s per square arcsec, then its derivative by each parameter.
    """
    from scipy.special import digamma, gammaln

    log_flux, xi, eta, log_radius, log_index, e1, e2 = theta
    n = np.exp(log_index)
    b = bn(n)
    slope_b = (bn(n * 1.001) - bn(n * 0.999)) / (0.002 * n)
    d = sky - np.array([xi, eta])
    matrix = shape_matrix(e1, e2)
    r2 = _quadratic(matrix, d) + soft**2
    log_ratio = 0.5 * np.log(r2) - log_radius
    u = np.exp(log_ratio / n)
    log_norm = 2 * n * np.log(b) - np.log(2 * np.pi * n) - 2 * log_radius - gammaln(2 * n)
    brightness = np.exp(np.clip(log_flux + log_norm - b * u, -700.0, 700.0))
    by_r2 = brightness * (-b * u / (2 * n * r2))
    step = 1e-5
    by_e1 = (shape_matrix(e1 + step, e2) - shape_matrix(e1 - step, e2)) / (2 * step)
    by_e2 = (shape_matrix(e1, e2 + step) - shape_matrix(e1, e2 - step)) / (2 * step)
    by_centre = -2 * by_r2[..., None] * (d @ matrix)
    by_n = -1 / n + 2 * np.log(b) + 2 * n * slope_b / b - 2 * digamma(2 * n) - slope_b * u + b * u * log_ratio / n**2
    return np.stack(
        [
            brightness,
            brightness,
            by_centre[..., 0],
            by_centre[..., 1],
            brightness * (-2 + b * u / n),
            brightness * n * by_n,
            by_r2 * _quadratic(by_e1, d),
            by_r2 * _quadratic(by_e2, d),
        ]
    )


def _quadratic(matrix: Float[Floats, "2 2"], d: Float[Floats, "*stack 2"]) -> Float[Floats, "*stack"]:
    """Return ``d.T matrix d`` over the last axis."""
    value: Floats = (
        matrix[0, 0] * d[..., 0] ** 2 + 2 * matrix[0, 1] * d[..., 0] * d[..., 1] + matrix[1, 1] * d[..., 1] ** 2
    )
    return value


def target_images(theta: Float[Floats, " 7"], grid: SkyGrid, fwhm: float) -> Float[Floats, "8 size size"]:
    """Return a Sersic and its derivatives on a grid, convolved with a Gaussian.

    Parameters
    ----------
    theta : array
        `PARAMETERS`.
    grid : SkyGrid
        The points of the image.
    fwhm : float
        Of the Gaussian, grid steps; 0 for none.

    Returns
    -------
    array
        e-/s per square arcsec, averaged over a grid step where the profile is steep.
    """
    from scipy.ndimage import gaussian_filter

    axis = np.arange(grid.size) * grid.spacing
    sky = np.stack(np.meshgrid(grid.origin[0] + axis, grid.origin[1] + axis), axis=-1)
    soft = 0.3 * grid.spacing / _FINE
    images = surface_brightness(theta, sky, soft)
    i, j = np.round((theta[1:3] - grid.origin) / grid.spacing).astype(int)
    rows = slice(max(j - _STEEP, 0), max(j + _STEEP + 1, 0))
    columns = slice(max(i - _STEEP, 0), max(i + _STEEP + 1, 0))
    steep = sky[rows, columns]
    if steep.size:
        sub = (np.arange(_FINE) - (_FINE - 1) / 2) / _FINE * grid.spacing
        shift = np.stack(np.meshgrid(sub, sub), axis=-1)
        images[:, rows, columns] = surface_brightness(theta, steep[:, :, None, None] + shift, soft).mean(axis=(-2, -1))
    if fwhm > 0:
        # The average over a step is itself a blur, of variance 1/12.
        sigma = np.sqrt(max((fwhm / FWHM_PER_SIGMA) ** 2 - 1 / 12, 0.01))
        for image in images:
            gaussian_filter(image, sigma, output=image, mode="nearest", truncate=5.0)
    return images
