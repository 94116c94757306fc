"""Photometry of stars for lcframework."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import whole_number
from lcframework.types import FWHM_PER_SIGMA, FitState, FitStatus, Floats, Kernels, PhotometryResult, Stamps

_STEP = 1e-3  # pixels, of numerical derivatives


@attrs.frozen
class PluginClass:
    """Flux and position of each star by its PSF, stamp by stamp."""

    results_version: ClassVar[int] = 1  # raise it when answers change
    joint: ClassVar[bool] = False  # True: one call gets all frames of one star

    rounds: int = attrs.field(default=6, validator=whole_number(1, 100))  # of the fit

    def measure(self, stamps: Stamps, kernels: Kernels) -> PhotometryResult:
        """Return each stamp's flux (e-/s) and position (pixels from the stamp's centre), with their covariance."""
        found = [self._one(i, stamps, kernels) for i in range(len(stamps))]
        values, covariance, chi2, status, model = (list(column) for column in zip(*found, strict=True))
        flux, x, y = np.array(values).T
        return PhotometryResult(
            flux=flux, x=x, y=y, background=np.zeros(len(flux)), covariance=np.array(covariance),
            reduced_chi2=np.array(chi2), status=tuple(status), model=np.array(model),
            outliers=np.zeros(stamps.data.shape, bool),
        )  # fmt: skip

    def _one(self, i: int, stamps: Stamps, kernels: Kernels) -> tuple[Floats, Floats, float, FitStatus, Floats]:
        data, good = stamps.data[i], ~stamps.mask[i]
        if good.sum() <= 3:
            failed = FitStatus(FitState.FAILED, reason="no usable pixel")
            return np.zeros(3), np.eye(3), 0.0, failed, np.zeros(data.shape)
        weight = np.where(good, stamps.noise[i] ** -2.0, 0.0)
        pixels = np.where(good, data, 0.0)

        def image(x: float, y: float) -> Floats:
            return _point(kernels.values[i], x, y, data.shape[0], kernels.subsampling_factor, kernels.target_fwhm)

        x, y = (float(value) for value in stamps.offset[i])
        # CHECK: replace this fit by your method. Fluxes of stars must mean what the ROI model's mean.
        for _ in range(self.rounds):
            unit = image(x, y)
            flux = np.sum(unit * pixels * weight) / np.sum(unit**2 * weight)
            along_x = flux * (image(x + _STEP, y) - image(x - _STEP, y)) / (2 * _STEP)
            along_y = flux * (image(x, y + _STEP) - image(x, y - _STEP)) / (2 * _STEP)
            design = np.stack([unit, along_x, along_y]).reshape(3, -1)
            normal = (design * weight.ravel()) @ design.T
            step = np.linalg.solve(normal, (design * weight.ravel()) @ (pixels - flux * unit).ravel())
            flux, x, y = flux + step[0], x + np.clip(step[1], -1, 1), y + np.clip(step[2], -1, 1)
        model = flux * image(x, y)
        chi2 = float(np.sum(weight * (pixels - model) ** 2) / (good.sum() - 3))
        return np.array([flux, x, y]), np.linalg.inv(normal), chi2, FitStatus(FitState.CONVERGED, self.rounds), model


def _point(kernel: Floats, dx: float, dy: float, size: int, s: int, target_fwhm: float) -> Floats:
    """Return the (size, size) image of unit flux: the kernel, widened by its target Gaussian, on the stamp's pixels.

    A PSF model states the Gaussian that its kernel is to be widened by, in small pixels; 0: it is the whole PSF.
    """
    if target_fwhm == 0:
        kernel, m = _fitted(kernel, size * s), size * s
        phase = -2j * np.pi * np.fft.fftfreq(m) * s
        fine = np.fft.ifft2(np.fft.fft2(kernel) * np.outer(np.exp(phase * dy), np.exp(phase * dx))).real
        return np.asarray(fine.reshape(size, s, size, s).sum(axis=(1, 3)))
    sigma, m = target_fwhm / FWHM_PER_SIGMA, len(kernel)
    lag = np.arange(size * s)[:, None] - np.arange(m)[None, :] - (size * s - m) / 2

    def spread(shift: float) -> Floats:
        gaussian = np.exp(-0.5 * ((lag - s * shift) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        return np.asarray(gaussian.reshape(size, s, m).sum(axis=1))

    return np.asarray(spread(dy) @ kernel @ spread(dx).T)


def _fitted(kernel: Floats, m: int) -> Floats:
    """Return a kernel cut or padded to (m, m) about its centre; its size has the parity of m."""
    margin = (m - len(kernel)) // 2
    return np.pad(kernel, margin) if margin >= 0 else kernel[-margin:margin, -margin:margin]


@hookimpl
def lcf_photometry() -> dict[str, type]:
    """Offer it as ``[photometry] plugin = "plugin_name"``."""
    return {"plugin_name": PluginClass}
