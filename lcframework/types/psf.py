"""Star stamps of frames, and the PSF that a model makes of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

from lcframework.types.arrays import Bools, Floats
from lcframework.types.fit_status import FitStatus

#: FWHM of a Gaussian of unit standard deviation.
FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))


@attrs.frozen(eq=False)
class PsfBatch:
    """Star stamps of a batch of frames, padded so that every frame has the same number of stars."""

    data: Floats  # (f, n, ny, nx) e-/s
    noise: Floats  # (f, n, ny, nx) one sigma, e-/s
    mask: Bools  # (f, n, ny, nx) True: do not use; all True for a padded star
    xy: Floats  # (f, n, 2) where each stamp's central point (n - 1) / 2 lies in its frame, pixels
    offset: Floats  # (f, n, 2) expected position of the star from the stamp's centre, pixels
    seeing: Floats  # (f,) FWHM guess, pixels
    frame_shape: tuple[int, int]  # (ny, nx) of the frames

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.data)


def _as_precise(instance: Any, attribute: Any, value: Floats) -> None:
    if value.size and value.shape != instance.precision.shape:
        raise ValueError(
            f"a PSF's {attribute.name} has the shape {value.shape}, and its precision {instance.precision.shape}: "
            "they are of the same image"
        )


@attrs.frozen(eq=False)
class PSF:
    """The PSF of one frame as a PSF model makes it.

    The point-source image on the data's pixels is: `narrow`, convolved with a Gaussian of `target_fwhm` small
    pixels centred on the source, summed over blocks of `subsampling_factor` squared small pixels.
    """

    narrow: Floats  # (m, m) on small pixels, centred on the array's geometric centre, sum 1
    full: Floats  # (m, m) the same convolved with the target Gaussian
    subsampling_factor: int
    target_fwhm: float  # small pixels; 0: `narrow` is a full PSF
    status: FitStatus
    reduced_chi2: float
    distortion: Mapping[str, Floats] = attrs.field(factory=dict)  # read only by the method `at` of the PSF model
    frame_shape: tuple[int, int] = (0, 0)
    amplitude: Floats = attrs.field(factory=lambda: np.zeros(0))  # (n,) e-/s of each star
    offset: Floats = attrs.field(factory=lambda: np.zeros((0, 2)))  # (n, 2) fitted, from the stamp's centre
    star_chi2: Floats = attrs.field(factory=lambda: np.zeros(0))  # (n,) reduced
    outliers: Bools = attrs.field(factory=lambda: np.zeros((0, 0, 0), bool))  # (n, ny, nx) found in the residuals
    residuals: Floats = attrs.field(factory=lambda: np.zeros((0, 0, 0)))  # (n, ny, nx) data - model, e-/s
    loss_history: Floats = attrs.field(factory=lambda: np.zeros(0))
    rejected: Mapping[int, str] = attrs.field(factory=dict)  # index of an excluded star -> reason
    # (ny, nx) inverse variance of the stars' mean image of unit flux: sum of amplitude^2 / noise^2; empty: unknown
    precision: Floats = attrs.field(factory=lambda: np.zeros((0, 0)))
    # (ny, nx) what the stars' mean image of unit flux exceeds the PSF's by, at the stamp's centre; empty: unknown
    mean_residual: Floats = attrs.field(factory=lambda: np.zeros((0, 0)), validator=_as_precise)
    # (r,) what bright stars' residuals scatter by beyond the noise, relative to their flux, in rings of half a pixel
    # about the star; 0 beyond the last ring; empty: unknown
    misfit: Floats = attrs.field(factory=lambda: np.zeros(0))
