"""A model of regions of interest for lcframework."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import whole_number
from lcframework.types import (
    FWHM_PER_SIGMA,
    Cutouts,
    FitState,
    FitStatus,
    Floats,
    HighResolution,
    PointSources,
    RoiFit,
)

_STEP = 1e-3  # pixels, of numerical derivatives


@attrs.frozen
class PluginClass:
    """Point sources at given places over an even level; each epoch's fluxes and translation are fitted by itself.

    For fields without extended light: what lies below a source would be counted as its own.
    """

    results_version: ClassVar[int] = 1  # raise it when answers change

    rounds: int = attrs.field(default=3, validator=whole_number(1, 50))  # of fluxes and translation

    def fit(self, cutouts: Cutouts, point_sources: PointSources) -> RoiFit:
        """Return the light curves of all epochs of a region, an instrument and a band."""
        (e, ny, nx), k = cutouts.data.shape, len(point_sources.names)
        flux, covariance, shift = np.zeros((e, k)), np.zeros((e, k, k)), np.zeros((e, 2))
        model, chi2 = np.zeros((e, ny, nx)), np.zeros(e)
        for i in range(e):
            flux[i], covariance[i], shift[i], model[i], chi2[i] = self._epoch(cutouts, i, point_sources.offset)
        s = cutouts.kernels.subsampling_factor
        high = _high_resolution(cutouts, point_sources.offset, flux.mean(axis=0), s)
        return RoiFit(
            flux=flux, covariance=covariance,
            # CHECK: errors that all epochs share, such as those of the sources' places; here they are taken as known.
            common_covariance=np.zeros((e, k, k)),
            offset=point_sources.offset.copy(), offset_covariance=np.zeros((2 * k, 2 * k)), translation=shift,
            high_resolution=high, model=model, outliers=np.zeros((e, ny, nx), bool), reduced_chi2=chi2,
            status=FitStatus(FitState.CONVERGED, self.rounds),
        )  # fmt: skip

    def _epoch(self, cutouts: Cutouts, i: int, offset: Floats) -> tuple[Floats, Floats, Floats, Floats, float]:
        """Return an epoch's fluxes, their covariance, its translation (pixels), its model and its reduced chi2."""
        good = ~cutouts.mask[i]
        weight = np.where(good, cutouts.noise[i] ** -2.0, 0.0).ravel()
        data = np.where(good, cutouts.data[i], 0.0).ravel()
        known = np.linalg.inv(cutouts.registration_covariance[i])  # what the stars say about the translation
        k, shift = len(offset), np.zeros(2)
        # CHECK: what is fitted beside the fluxes. A galaxy needs a model that the epochs share.
        for _ in range(self.rounds):
            points = self._points(cutouts, i, offset, shift)
            light = np.vstack([points, np.ones(len(data))])
            fluxes = np.linalg.solve((light * weight) @ light.T, (light * weight) @ data)
            steps = [self._points(cutouts, i, offset, shift + d) - points for d in _STEP * np.eye(2)]
            moved = [fluxes[:k] @ step / _STEP for step in steps]
            design = np.vstack([light, moved])
            normal = (design * weight) @ design.T
            right = (design * weight) @ (data - fluxes @ light)
            normal[-2:, -2:] += known
            right[-2:] -= known @ shift
            step = np.linalg.solve(normal, right)
            fluxes, shift = fluxes + step[: k + 1], shift + np.clip(step[-2:], -1, 1)
        model = fluxes @ np.vstack([self._points(cutouts, i, offset, shift), np.ones(len(data))])
        chi2 = float(np.sum(weight * (data - model) ** 2) / max(good.sum() - k - 3, 1))
        return fluxes[:k], np.linalg.inv(normal)[:k, :k], shift, model.reshape(cutouts.data[i].shape), chi2

    @staticmethod
    def _points(cutouts: Cutouts, i: int, offset: Floats, shift: Floats) -> Floats:
        """Return the images (k, pixels) of unit flux of an epoch's sources."""
        kernels, t = cutouts.kernels, cutouts.transform[i]
        ny, nx = cutouts.data[i].shape
        places = offset @ t[:, :2].T + t[:, 2] + shift - np.array([(nx - 1) / 2, (ny - 1) / 2])
        s, target = kernels.subsampling_factor, kernels.target_fwhm
        return np.array([_point(kernels.values[i], x, y, (ny, nx), s, target).ravel() for x, y in places])


def _point(kernel: Floats, dx: float, dy: float, shape: tuple[int, int], s: int, target_fwhm: float) -> Floats:
    """Return the image (ny, nx) of unit flux: the kernel, widened by its target Gaussian, on the stamp's pixels.

    Of a whole PSF (`target_fwhm` 0) the kernel is interpolated; its size has the parity of the stamp's small pixels.
    """
    m = len(kernel)
    if target_fwhm == 0:
        from scipy.ndimage import map_coordinates

        y, x = (np.arange(n * s) - (n * s - 1) / 2 - s * d + (m - 1) / 2 for n, d in ((shape[0], dy), (shape[1], dx)))
        fine = map_coordinates(kernel, np.meshgrid(y, x, indexing="ij"), order=3)
        return np.asarray(fine.reshape(shape[0], s, shape[1], s).sum(axis=(1, 3)))
    sigma = target_fwhm / FWHM_PER_SIGMA

    def spread(n: int, shift: float) -> Floats:
        lag = np.arange(n * s)[:, None] - np.arange(m)[None, :] - (n * s - m) / 2
        gaussian = np.exp(-0.5 * ((lag - s * shift) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        return np.asarray(gaussian.reshape(n, s, m).sum(axis=1))

    return np.asarray(spread(shape[0], dy) @ kernel @ spread(shape[1], dx).T)


def _high_resolution(cutouts: Cutouts, offset: Floats, flux: Floats, s: int) -> HighResolution:
    """Return the sources as Gaussians of two small pixels, placed as in the first epoch; there is no background."""
    ny, nx = (n * s for n in cutouts.data.shape[1:])
    first = cutouts.transform[0]
    transform = np.column_stack([s * first[:, :2], s * (first[:, 2] + 0.5) - 0.5])
    y, x = np.mgrid[:ny, :nx]
    image = np.zeros((ny, nx))
    sigma = 2.0 / FWHM_PER_SIGMA
    for (u, v), light in zip(offset @ transform[:, :2].T + transform[:, 2], flux, strict=True):
        image += light * np.exp(-0.5 * ((x - u) ** 2 + (y - v) ** 2) / sigma**2) / (2 * np.pi * sigma**2)
    return HighResolution(np.zeros((ny, nx)), image, transform)


@hookimpl
def lcf_roi_models() -> dict[str, type]:
    """Offer it as ``[roi_model] plugin = "plugin_name"``."""
    return {"plugin_name": PluginClass}
