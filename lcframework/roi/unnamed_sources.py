"""Point sources without a name that the image of extended light has taken up.

A pixelated background, or a galaxy whose size is free, holds a point source as well as it holds a galaxy, so residuals
do not show a source that was left out. What is left is its shape. Each peak of the image is judged twice:

- **in the image**, which is fitted by concentric Gaussians of several widths about all peaks together: a point source
  has most of its light in what the seeing can't tell from a point. A galaxy has little there, however peaked it is: a
  de Vaucouleurs profile with the seeing's FWHM for effective radius, a third.
- **in the frames**, where that light must be a point source rather than a Gaussian of 0.6 of the seeing. Noise, and a
  penalty that likes peaks, make narrow ones out of a smooth arc; the frames don't ask for these to be narrow.
"""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.roi.rendering import render
from lcframework.types import FWHM_PER_SIGMA, Cutouts, Floats, Ints, RoiFit

#: Widths of the Gaussians beyond the image's own resolution, in units of the seeing. The first two are unresolved.
_WIDTHS = np.array([0.0, 0.3, 0.6, 1.2, 2.4])
_UNRESOLVED = 2
_OWN = 4  # the last width is of what lies under a peak, not of the peak
#: Of a peak's own light within a FWHM of the seeing, a point source has more than this in the unresolved Gaussians.
_POINTLIKE = 0.5
_SIGNIFICANT = 10.0  # sigma, of its flux in the frames
_NARROW = 25.0  # by how much chi2 must be lower for a point than for a Gaussian of 0.6 of the seeing
#: The least flux, in units of the brightest source's: beyond a FWHM of the seeing from a fitted source, and nearer. The
#: PSF's errors leave light around a bright source; within half a FWHM nothing is judged.
_FAR_SHARE, _NEAR_SHARE = 0.05, 0.2
_BLIND = 0.5
_PEAKS = 12  # the highest ones
_EPOCHS = 40  # the sharpest ones


@attrs.frozen(eq=False)
class Unnamed:
    """What looks like a point source in the image of extended light."""

    offset: Floats  # (2,) arcsec (xi, eta) from the region's position
    flux: float  # e-/s, mean of the epochs
    share: float  # of the brightest source's flux


def unnamed_sources(cutouts: Cutouts, fit: RoiFit) -> list[Unnamed]:
    """Return the point sources that the image of extended light holds, the brightest first.

    Parameters
    ----------
    cutouts : Cutouts
        What was fitted.
    fit : RoiFit
        The fit, with its image of extended light at the resolution of the kernels' target Gaussian.
    """
    image, transform = np.nan_to_num(fit.high_resolution.background), fit.high_resolution.transform
    brightest = float(np.nanmax(np.abs(fit.flux))) if np.isfinite(fit.flux).any() else 0.0
    seeing = float(np.nanmedian(cutouts.seeing)) if np.isfinite(cutouts.seeing).any() else np.nan
    if brightest == 0 or not np.isfinite(seeing) or not (image > 0).any():
        return []
    scale = 1 / np.sqrt(abs(np.linalg.det(transform[:, :2])))  # arcsec a small pixel
    peaks = _peaks(image)
    light = _concentric(image, peaks, cutouts.kernels.target_fwhm or 2.0, seeing / scale)
    offsets = (peaks - transform[:, 2]) @ np.linalg.inv(transform[:, :2]).T
    found = []
    for offset, fluxes, own in zip(offsets, light, _within(light, seeing / scale), strict=True):
        away = np.hypot(*(np.reshape(fit.offset, (-1, 2)) - offset).T).min(initial=np.inf) / seeing
        least = (_FAR_SHARE if away > 1 else _NEAR_SHARE) * brightest
        narrow = fluxes[:_UNRESOLVED].sum()
        if away < _BLIND or narrow < 0.5 * least or narrow < _POINTLIKE * own:
            continue
        flux = _in_frames(cutouts, fit, offset, fluxes[:_UNRESOLVED], seeing)
        if flux > least:
            found.append(Unnamed(offset, flux, flux / brightest))
    return sorted(found, key=lambda source: -source.flux)


def _peaks(image: Floats) -> Floats:
    """Return the positions (p, 2), (x, y), of the highest local maxima that are not at the border."""
    from scipy.ndimage import maximum_filter

    top = (image == maximum_filter(image, size=3)) & (image > 0.01 * image.max())
    top[:2], top[-2:], top[:, :2], top[:, -2:] = False, False, False, False
    y, x = np.nonzero(top)
    order: Ints = np.argsort(-image[y, x])[:_PEAKS]
    near = np.arange(-1, 2)
    peaks = []
    for i, j in zip(y[order].tolist(), x[order].tolist(), strict=True):
        box = np.maximum(image[i - 1 : i + 2, j - 1 : j + 2], 0.0)
        box = box - box.min()
        total = max(float(box.sum()), 1e-30)
        peaks.append([j + float(box.sum(0) @ near) / total, i + float(box.sum(1) @ near) / total])
    return np.array(peaks).reshape(-1, 2)


def _sigmas(resolution: float, seeing: float) -> Floats:
    """Return the Gaussians' standard deviations in the image, small pixels; both arguments are FWHM."""
    return np.asarray(np.hypot(resolution, _WIDTHS * seeing) / FWHM_PER_SIGMA)


def _concentric(image: Floats, peaks: Floats, resolution: float, seeing: float) -> Floats:
    """Return the fluxes (p, widths), none negative, of Gaussians about all peaks that fit an image, and a constant."""
    from scipy.optimize import nnls

    rows, columns = (np.arange(n) for n in image.shape)
    made = [np.ones(image.size)]
    for x, y in peaks:
        for sigma in _sigmas(resolution, seeing):
            across, along = (np.exp(-0.5 * (d / sigma) ** 2) for d in (columns - x, rows - y))
            made.append(np.outer(along, across).ravel() / (2 * np.pi * sigma**2))
    design = np.array(made)
    norm = np.linalg.norm(design, axis=1)
    design /= norm[:, None]
    # By the root of the normal equations, which are as few as there are Gaussians; broad ones are nearly alike.
    root = np.linalg.cholesky(design @ design.T + 1e-9 * np.eye(len(design)))
    fluxes = nnls(root.T, np.linalg.solve(root, design @ image.ravel()))[0] / norm
    return np.asarray(fluxes[1:].reshape(len(peaks), len(_WIDTHS)))


def _within(light: Floats, seeing: float) -> Floats:
    """Return each peak's own light (p,) within a FWHM of the seeing."""
    sigma = np.maximum(_WIDTHS * seeing / FWHM_PER_SIGMA, 1e-9)
    return np.asarray((light * (1 - np.exp(-0.5 * (seeing / sigma) ** 2)))[:, :_OWN].sum(axis=1))


def _in_frames(cutouts: Cutouts, fit: RoiFit, offset: Floats, narrow: Floats, seeing: float) -> float:
    """Return the flux of a point source in place of a peak's unresolved light; 0 where frames don't ask for one.

    Each frame's sky and the fluxes of the fitted sources are free.
    """
    kernels = cutouts.kernels
    small = seeing * kernels.subsampling_factor * np.sqrt(np.abs(np.linalg.det(cutouts.transform[:, :, :2]))).mean()
    widths = np.hypot(kernels.target_fwhm, _WIDTHS[: _UNRESOLVED + 1] * small)
    product, power = np.zeros(len(widths)), np.zeros(len(widths))
    ny, nx = cutouts.data.shape[1:]
    centre = np.array([0.5 * (nx - 1), 0.5 * (ny - 1)])
    good = ~(cutouts.mask | fit.outliers) & np.isfinite(fit.model) & (cutouts.noise > 0)
    usable = np.flatnonzero(good.any(axis=(1, 2)))
    for e in usable[np.argsort(cutouts.seeing[usable], kind="stable")[:_EPOCHS]].tolist():
        linear, shift = cutouts.transform[e, :, :2], cutouts.transform[e, :, 2] + fit.translation[e] - centre
        kernel, root = kernels.values[e], good[e] / np.where(good[e], cutouts.noise[e], 1.0)

        def image(place: Floats, width: float, kernel: Floats = kernel, root: Floats = root) -> Floats:
            return (root * render(kernel, place, (ny, nx), kernels.subsampling_factor, width)).ravel()

        own = np.array([image(linear @ offset + shift, width) for width in widths])
        others = [image(linear @ o + shift, kernels.target_fwhm) for o in np.reshape(fit.offset, (-1, 2))]
        residual = np.where(good[e], cutouts.data[e] - fit.model[e], 0.0) * root
        basis = np.linalg.qr(np.array([*others, root.ravel()]).T)[0]
        images = own - (own @ basis) @ basis.T
        product += images @ (residual.ravel() + narrow @ own[:_UNRESOLVED])
        power += (images**2).sum(axis=1)
    power = np.maximum(power, 1e-30)
    gain = np.maximum(product, 0.0) ** 2 / power
    is_one = product[0] > _SIGNIFICANT * np.sqrt(power[0]) and gain[:_UNRESOLVED].max() - gain[-1] > _NARROW
    return float(product[0] / power[0]) if is_one else 0.0
