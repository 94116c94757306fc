"""The image of a point source, or of a round Gaussian, on a stamp's pixels, from a PSF on small pixels."""

from __future__ import annotations

import numpy as np

from lcframework.types import FWHM_PER_SIGMA, Floats


def render(kernel: Floats, xy: Floats, shape: tuple[int, ...], subsampling: int, target_fwhm: float) -> Floats:
    """Return the image of a unit point source.

    Parameters
    ----------
    kernel : (m, m) array
        A narrow PSF on small pixels.
    xy : (2,) array
        The source's position from the stamp's centre, pixels.
    shape : (ny, nx)
        Of the stamp.
    subsampling : int
        Small pixels across a pixel.
    target_fwhm : float
        Of the Gaussian that widens the kernel, small pixels; 0: the kernel is a full PSF. A Gaussian source of some
        width has that width added in quadrature.
    """
    operators = [_operator(float(xy[a]), shape[1 - a], kernel.shape[1 - a], subsampling, target_fwhm) for a in (0, 1)]
    return np.asarray(operators[1] @ kernel @ operators[0].T)


def _operator(offset: float, n: int, m: int, s: int, fwhm: float) -> Floats:
    """Return the (n, m) matrix from a kernel's axis to a stamp's: Gaussian, or linear shift, and sums over blocks."""
    small = np.arange(n * s) - (n * s - 1) / 2 - s * offset
    distance = small[:, None] - (np.arange(m) - (m - 1) / 2)[None, :]
    if fwhm > 0:
        sigma = fwhm / FWHM_PER_SIGMA
        values = np.exp(-0.5 * (distance / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    else:
        values = np.maximum(0.0, 1.0 - np.abs(distance))
    return np.asarray(values.reshape(n, s, m).sum(axis=1))
