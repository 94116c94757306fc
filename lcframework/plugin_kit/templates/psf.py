"""A PSF model for lcframework."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import whole_number
from lcframework.types import PSF, FitState, FitStatus, Floats, PsfBatch

#: sigma along x and y of the core and of the wings, relative to the seeing's, and the logarithm of wings over core
_FIRST = (0.9, 0.9, 1.8, 1.8, -1.5)


@attrs.frozen
class PluginClass:
    """Two Gaussians along the axes of the detector, the same all over the frame."""

    results_version: ClassVar[int] = 1  # raise it when answers change

    subsampling_factor: int = attrs.field(default=2, validator=whole_number(1, 4))  # small pixels a pixel
    evaluations: int = attrs.field(default=200, validator=whole_number(10, 10000))  # at which the fit stops

    def fit(self, batch: PsfBatch) -> list[PSF]:
        """Return one PSF a frame; one that failed says why in its status."""
        return [self._fit_frame(batch, frame) for frame in range(len(batch))]

    def at(self, psf: PSF, xy: Floats) -> Floats:
        """Return the kernels (n, m, m) at positions (n, 2) of the frame."""
        # CHECK: a PSF that varies over the frame is worked out here, from what `fit` left in `psf.distortion`.
        return np.repeat(psf.narrow[None], len(xy), axis=0)

    def _fit_frame(self, batch: PsfBatch, frame: int) -> PSF:
        from scipy.optimize import least_squares  # heavy libraries are imported where they are needed

        data, noise, mask = batch.data[frame], batch.noise[frame], batch.mask[frame]
        stars = np.flatnonzero(~mask.all(axis=(1, 2)))  # a star that is all masked is padding
        size = data.shape[-1]
        if not len(stars):
            return self._failed(size, "no star has a usable pixel")
        weight = np.where(mask, 0.0, 1.0 / noise)[stars]
        pixels = np.where(mask, 0.0, data)[stars]
        guess = batch.seeing[frame] / 2.355

        def solved(p: Floats) -> tuple[Floats, Floats, Floats]:
            """Return residuals in standard deviations, the images of unit flux, and the stars' best fluxes."""
            image = np.array([_image(size, p[:5], guess, *xy) for xy in p[5:].reshape(-1, 2)])
            flux = np.sum(image * pixels * weight**2, axis=(1, 2)) / np.sum((image * weight) ** 2, axis=(1, 2))
            return ((pixels - flux[:, None, None] * image) * weight).ravel(), image, flux

        first = np.concatenate([_FIRST, np.asarray(batch.offset[frame])[stars].ravel()])
        found = least_squares(lambda p: solved(p)[0], first, x_scale=0.1, max_nfev=self.evaluations)
        residuals, _, flux = solved(found.x)
        amplitude, offset = np.full(len(data), np.nan), np.full((len(data), 2), np.nan)
        amplitude[stars], offset[stars] = flux, found.x[5:].reshape(-1, 2)
        # The kernel: m is the stamp's size times the subsampling, so that m has its parity, the centre (m - 1) / 2, and
        # the sum 1. This one is the whole PSF; one that is to be widened by a Gaussian states it in `target_fwhm`.
        s = self.subsampling_factor
        kernel = _image(size * s, found.x[:5], guess * s, 0.0, 0.0)
        kernel /= kernel.sum()
        state = FitState.CONVERGED if found.status > 0 else FitState.BOUND
        degrees = max(int(np.count_nonzero(weight)) - len(found.x) - len(stars), 1)
        return PSF(
            narrow=kernel, full=kernel, subsampling_factor=s, target_fwhm=0.0,
            status=FitStatus(state, int(found.nfev)), reduced_chi2=float(np.sum(residuals**2) / degrees),
            frame_shape=batch.frame_shape, amplitude=amplitude, offset=offset,
            precision=np.sum((flux[:, None, None] * weight) ** 2, axis=0),
        )  # fmt: skip

    def _failed(self, size: int, why: str) -> PSF:
        kernel = np.full((size * self.subsampling_factor,) * 2, (size * self.subsampling_factor) ** -2.0)
        status = FitStatus(FitState.FAILED, reason=why)
        return PSF(kernel, kernel, self.subsampling_factor, 0.0, status, reduced_chi2=np.nan)


def _image(size: int, shape: Floats, sigma: float, dx: float, dy: float) -> Floats:
    """Return the (size, size) image of unit flux, integrated over pixels, `dx` and `dy` pixels from the centre."""
    from scipy.special import ndtr

    # CHECK: your profile. It is integrated over pixels: at their centres alone it would be too sharp.
    edges = np.arange(size + 1) - 0.5 - (size - 1) / 2
    x1, y1, x2, y2 = np.maximum(np.abs(shape[:4]), 0.05) * sigma
    core, wings = (
        np.outer(np.diff(ndtr((edges - dy) / y)), np.diff(ndtr((edges - dx) / x))) for x, y in ((x1, y1), (x2, y2))
    )
    part = 1 / (1 + np.exp(-shape[4]))  # of the light, in the wings
    return np.asarray((1 - part) * core + part * wings)


@hookimpl
def lcf_psf_models() -> dict[str, type]:
    """Offer it as ``[psf] plugin = "plugin_name"``."""
    return {"plugin_name": PluginClass}
