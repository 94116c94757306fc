"""The errors of blended sources' fluxes that come from fitted PSFs: what the stars show is taken off, noise remains.

An epoch's PSF is measured on stars. An error of its image is the same under each source and under all of a galaxy, and
changes the fluxes through the epoch's normal equations: to first order by ``g e``, with ``g`` the influence and ``e``
the image's error. The part of ``e`` that looks like a flux or a position of a single star is also in the coefficient
and the registration, which were measured on the stars with the same PSF. It cancels, so it is projected out. Hence an
isolated source has none of this error, and close sources of different brightness have most.

A model with a penalty follows the noise of its stars only in part, and misses a part of what the stars really look
like: up to some standard deviations of the noise in each detail, for there the penalty gives way. No formula of the
noise knows of that. But the stars' mean residual ``R`` does: model plus R is the mean image of the stars, which no
penalty has touched. So ``g R`` is added to the fluxes, as if each had been measured with that image (the step by which
penalised regressions are freed of their bias: Zhang and Zhang 2014, J. R. Stat. Soc. B 76, 217). What remains is the
mean image's own noise, whose variance is ``g W^-1 g`` whatever the model is: the precision ``W`` is, for each pixel of
a star's stamp, the inverse variance of the stars' mean image of unit flux.
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Bool, Float

from lcframework.types import Bools, Floats
from plugins_builtin.engine.roi.geometry import Epochs, to_pixels, to_sky
from plugins_builtin.engine.roi.newton import local_columns
from plugins_builtin.engine.roi.scene import source_images
from plugins_builtin.engine.target import target_matrix_pair

#: Variance of the fluxes by the PSF's errors, over that by the stars' noise alone, where what the PSF misses is not
#: known. So it was for STARRED's PSFs (1.3 to 2.5 by sampling, number of stars and penalty).
_UNKNOWN_MISFIT = 2.0

#: Pixels whose precision is less than this share of the largest are left out: they are masked in nearly all stars.
_KNOWN = 1e-3


@attrs.frozen(eq=False)
class Fitted:
    """The result of a fit to the epochs."""

    offset: Float[Floats, "k 2"]  # of the sources, arcsec
    flux: Float[Floats, "e k"]
    sky: Float[Floats, " e"]
    shift: Float[Floats, "e 2"]  # pixels
    model: Float[Floats, "e ny nx"]
    inverse_variance: Float[Floats, "e ny nx"]
    shift_covariance: Float[Floats, "e 2 2"]  # prior of the translations, pixels^2
    seen: Bool[Bools, "e k"]
    background: Float[Floats, "rows columns"]  # e-/s a small pixel, not blurred by the PSFs
    transform: Float[Floats, "2 3"]  # its small pixels per arcsec

    def positions(self, epochs: Epochs, i: int) -> Float[Floats, "k 2"]:
        """Return the sources' positions (x, y) in an epoch's stamp, pixels."""
        positions: Floats = to_pixels(epochs.transform[i], self.offset) + self.shift[i]
        return positions


def without_misfit(epochs: Epochs, fitted: Fitted) -> tuple[Fitted, Float[Floats, "e k k"]]:
    """Return a fit with its fluxes freed of what the PSFs miss of the stars, and the covariance by the PSFs' noise.

    Parameters
    ----------
    epochs : Epochs
        Epochs whose `psf_precision` is not known keep their fluxes, and have no such covariance; those whose
        `psf_residual` is not known (0 everywhere) keep their fluxes, and have twice the covariance.
    fitted : Fitted
        The fit.

    Returns
    -------
    Fitted
        With the fluxes and the model's images of the sources changed.
    (e, k, k) array
        To be added to the covariance of the fluxes.
    """
    e, k = fitted.flux.shape
    covariance, flux, model = np.zeros((e, k, k)), fitted.flux.copy(), fitted.model.copy()
    if k == 0 or not epochs.psf_precision.size:
        return fitted, covariance
    for i in np.flatnonzero(epochs.usable).tolist():
        precision = epochs.psf_precision[i]
        known = precision > _KNOWN * precision.max()
        if fitted.seen[i].any() and known.any():
            influence = _projected_influence(epochs, i, fitted, np.where(known, precision, 0.0))[:, known.ravel()]
            covariance[i] = (influence / precision[known]) @ influence.T
            if not epochs.psf_residual.size or not epochs.psf_residual[i].any():
                covariance[i] *= _UNKNOWN_MISFIT
            else:
                change = influence @ epochs.psf_residual[i][known]
                flux[i] += change
                model[i] += np.tensordot(change, source_images(epochs, i, fitted.positions(epochs, i))[0], 1)
    return attrs.evolve(fitted, flux=flux, model=model), covariance


def _projected_influence(
    epochs: Epochs, i: int, fitted: Fitted, precision: Float[Floats, "n n"]
) -> Float[Floats, "k n**2"]:
    """Return the influence of a star's image without what looks like another flux or position of a single star."""
    n = len(precision)
    influence = _influence(epochs, i, fitted, n)
    stars = _single_star(epochs, i, n)
    weighted = stars * precision.ravel()
    found: Floats = influence - (influence @ stars.T) @ np.linalg.solve(weighted @ stars.T, weighted)
    return found


def _influence(epochs: Epochs, i: int, fitted: Fitted, n: int) -> Float[Floats, "k {n}**2"]:
    """Return the derivatives of an epoch's fluxes by the image of a star of unit flux, on `n` x `n` pixels."""
    from scipy.fft import irfft2, next_fast_len, rfft2

    ny, nx = epochs.shape
    estimator = _estimator(epochs, i, fitted).reshape(-1, ny, nx)
    # Light at pixel a contributes to pixel a + u - (n - 1) of the stamp by pixel u of the star's image.
    size = [next_fast_len(length + n - 1, real=True) for length in (ny, nx)]
    product = rfft2(estimator, size) * np.conj(rfft2(_light(epochs, i, fitted, n), size))
    lag = np.arange(-(n - 1), 1)
    found: Floats = -irfft2(product, size)[:, lag[:, None], lag[None, :]].reshape(len(estimator), -1)
    return found


def _light(epochs: Epochs, i: int, fitted: Fitted, n: int) -> Float[Floats, "rows columns"]:
    """Return the light before the PSF, e-/s per pixel, n - 1 pixels larger: stamp pixel x is at x + (n - 1) / 2."""
    from scipy.ndimage import map_coordinates

    size = (epochs.shape[0] + n - 1, epochs.shape[1] + n - 1)
    margin = 0.5 * (n - 1)
    y, x = np.mgrid[: size[0], : size[1]]
    sky = to_sky(epochs.transform[i], np.stack([x, y], axis=-1) - margin - fitted.shift[i])
    positions = to_pixels(fitted.transform, sky)
    background = map_coordinates(fitted.background, [positions[..., 1], positions[..., 0]], order=1)
    light = epochs.subsampling**2 * background
    at = fitted.positions(epochs, i) + margin
    for (px, py), flux in zip(at[fitted.seen[i]], fitted.flux[i][fitted.seen[i]], strict=True):
        light += flux * np.outer(_shares(py, size[0]), _shares(px, size[1]))
    return np.asarray(light)


def _shares(position: float, size: int) -> Float[Floats, " {size}"]:
    """Return the linear weights of `size` pixels for a point at `position`: two neighbours share it."""
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(position - np.arange(size))))


def _estimator(epochs: Epochs, i: int, fitted: Fitted) -> Float[Floats, "k pixels"]:
    """Return the derivatives of an epoch's fluxes by its data; sky, translation and transparency are free."""
    flux, seen = fitted.flux[i], fitted.seen[i]
    k = len(flux)
    sources, by_x, by_y = source_images(epochs, i, fitted.positions(epochs, i))
    rest = fitted.model[i] - fitted.sky[i] - np.tensordot(flux, sources, 1)
    columns = local_columns(flux, (sources, by_x, by_y), rest)
    columns[:k][~seen] = 0.0
    weighted = columns * fitted.inverse_variance[i].ravel()
    normal = weighted @ columns.T
    normal[k + 1 : k + 3, k + 1 : k + 3] += np.linalg.inv(fitted.shift_covariance[i])
    normal[k + 3, k + 3] += 1.0 / max(epochs.transparency_error[i], 1e-6) ** 2
    normal[np.arange(k), np.arange(k)] += ~seen
    return np.linalg.solve(normal, weighted)[:k]


def _single_star(epochs: Epochs, i: int, n: int) -> Float[Floats, "3 {n}**2"]:
    """Return a star of unit flux and its derivatives by x and y."""
    kernel = epochs.kernels[i]
    here, slope = target_matrix_pair(np.zeros(()), n, epochs.subsampling, epochs.fwhm, len(kernel))
    return np.stack([here @ kernel @ here.T, here @ kernel @ slope.T, slope @ kernel @ here.T]).reshape(3, -1)
