"""Where a region's pixels are covered by the PSF, so that its sources are measured as the reference stars are.

A PSF is fitted on the stars' stamps and normalised there: light beyond them belongs to no flux. It cancels between
stars and target only where both are fitted on the same support. A region's stamp may be larger; pixels of it that no
source's PSF reaches hold light that the model lacks, which is taken for sky and lowers the flux, the more the worse the
seeing is. The same pixels tell how bright the sky is. They are left out where they cost more than they bring.
"""

from __future__ import annotations

import numpy as np

from lcframework.types import FWHM_PER_SIGMA, Bools, Cutouts, Floats, PointSources

#: So many pixels at the edge of a PSF's support tell how much light lies beyond it.
_EDGE = 2
#: The share of the light at the edge that the mean pixel beyond has. It falls off as the wings do: fluxes of simulated
#: stars of 7 and 10 pixels FWHM fell by 0.6 and 0.35 of what the edge's light alone would make.
_BEYOND = 0.5
#: The error of the best zero points, relative: a level that is off by less is no false magnitude.
_FALSE_LEVEL = 0.003


def harmful_pixels(cutouts: Cutouts, sources: PointSources, zeropoint_error: float = np.nan) -> Bools:
    """Return the pixels of each epoch that no point source's PSF reaches, if they bias fluxes by more than they help.

    Without the light beyond the support, the sky is taken for brighter by half of the light at its edge (it falls off
    beyond), in units of the flux `e`, and the flux falls by `e A`, with the PSF's effective area
    ``A = sum(p)^2 / sum(p^2)``, or the aperture's or discs'. Without the pixels, the variance of the relative flux
    grows by ``(A s / f)^2 (1 / n_in - 1 / n)``, with the noise of a pixel `s`, the flux `f`, and the numbers of pixels
    on the support and in all. All epochs are treated alike: the pixels are harmful where the variance of `e A` over the
    epochs, which is false variability, is above the mean of that variance, or where the mean of `e A`, which is a false
    magnitude, is above the zero point's error.

    Parameters
    ----------
    cutouts : Cutouts
        The region's epochs.
    sources : PointSources
        Those of the region.
    zeropoint_error : float
        mag; nan where there is no zero point.

    Returns
    -------
    (e, ny, nx) array of bool
    """
    beyond = beyond_psfs(cutouts, sources) & ~cutouts.mask
    if not beyond.any():
        return beyond
    discs = _largest_area(cutouts)
    bias, cost, fluxes = [], [], []
    for epoch in np.flatnonzero(beyond.any(axis=(1, 2))).tolist():
        psf = _on_pixels(cutouts, epoch)
        rows, columns = np.indices(psf.shape)
        edge = np.minimum(np.minimum(rows, columns), len(psf) - 1 - np.maximum(rows, columns)) < _EDGE
        area = max(psf.sum() ** 2 / (psf**2).sum(), np.pi * cutouts.aperture**2, discs)
        on = ~beyond[epoch] & ~cutouts.mask[epoch]
        sky = np.median(cutouts.data[epoch][beyond[epoch]])
        fluxes.append(float((cutouts.data[epoch] - sky)[on].sum()))
        noise = float(np.median(cutouts.noise[epoch][beyond[epoch]]))
        fewer = 1 / max(1, int(on.sum())) - 1 / (on.sum() + beyond[epoch].sum())
        bias.append(_BEYOND * psf[edge].mean() * area)
        cost.append((area * noise) ** 2 * fewer)
    bright = [f for f in fluxes if f > 0]
    if not bright:
        return np.zeros_like(beyond)
    # By a typical flux: epochs of clouds, or before a source appeared, tell nothing of what the others need.
    variable = np.var(bias) > np.median(cost) / np.median(bright) ** 2
    displaced = abs(np.mean(bias)) > np.fmax(_FALSE_LEVEL, zeropoint_error)
    return beyond if variable or displaced else np.zeros_like(beyond)


def _largest_area(cutouts: Cutouts) -> float:
    """Return the pixels in the discs that sources are measured in, of the median epoch; 0 where there are none."""
    if cutouts.discs is not None:
        scale = 1 / np.sqrt(np.abs(np.linalg.det(cutouts.transform[:, :, :2])))  # arcsec a pixel
        return cutouts.discs.area(float(np.nanmedian(cutouts.seeing / scale)))
    return cutouts.estimators.area if cutouts.estimators is not None else 0.0


def beyond_psfs(cutouts: Cutouts, sources: PointSources) -> Bools:
    """Return which pixels (e, ny, nx) of each epoch no point source's PSF reaches; none where there is no source."""
    beyond = np.zeros(cutouts.mask.shape, bool)
    if not len(sources.offset):
        return beyond
    reach = 0.5 * cutouts.kernels.values.shape[-1] / cutouts.kernels.subsampling_factor
    yy, xx = np.indices(beyond.shape[1:])
    for epoch, transform in enumerate(cutouts.transform):
        centres = np.asarray(sources.offset, float) @ transform[:, :2].T + transform[:, 2]
        distances = [np.maximum(np.abs(xx - x), np.abs(yy - y)) for x, y in centres]
        beyond[epoch] = np.min(distances, axis=0) > reach
    return beyond


def _on_pixels(cutouts: Cutouts, epoch: int) -> Floats:
    """Return an epoch's full PSF on the data's pixels."""
    from scipy.ndimage import gaussian_filter

    kernels = cutouts.kernels
    psf = np.asarray(kernels.values[epoch], float)
    if kernels.target_fwhm > 0:
        psf = gaussian_filter(psf, kernels.target_fwhm / FWHM_PER_SIGMA, mode="constant")
    s = kernels.subsampling_factor
    n = psf.shape[-1] // s
    return np.asarray(psf[: n * s, : n * s].reshape(n, s, n, s).sum((1, 3)))
