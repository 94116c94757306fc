"""Cutout, model and residual of every epoch, small enough that a page can hold a thousand of them.

A pixel is a level of one byte: intensities on an arcsinh scale, residuals in units of the noise, or masked. So rounded,
noise compresses to half of that; a PNG with a palette holds a block of epochs below each other, and a reader's browser
unpacks the block that it shows.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import attrs
import numpy as np
from PIL import Image

from lcframework.report.plots.mosaic import MASKED, paint
from lcframework.roi.cutout_files import FitFile, PreparedEpochs
from lcframework.types import Bools, Floats

#: Levels of intensities, from 0 on; residuals follow them.
INTENSITIES, RESIDUALS = 128, 41
#: The level of masked pixels.
HIDDEN = 255
#: Residuals at the ends of their levels, in units of the noise.
LIMIT = 5.0
#: Epochs in one PNG.
BLOCK = 50
_SOFT = 3.0  # sigma within which intensities are linear


@attrs.frozen
class Stretch:
    """How intensities become levels; the same for all epochs of a group, so that they can be compared.

    Attributes
    ----------
    soft : float
        e-/s: the scale is linear well below, and logarithmic well above.
    low, high : float
        e-/s at the first and the last level.
    """

    soft: float
    low: float
    high: float

    @classmethod
    def of(cls, data: Floats, noise: Floats, mask: Bools) -> Stretch:
        """Return the stretch that shows both the noise and the peaks of (e, ny, nx) cutouts."""
        good = ~mask & np.isfinite(data) & np.isfinite(noise)
        if not good.any():
            return cls(1.0, -1.0, 1.0)
        sigma = max(float(np.median(noise[good])), 1e-12)
        peaks = np.where(good, data, -np.inf).max(axis=(1, 2))
        top = float(np.quantile(peaks[np.isfinite(peaks)], 0.95))
        return cls(_SOFT * sigma, -_SOFT * sigma, max(top, 2 * _SOFT * sigma))

    def levels(self, values: Floats) -> Floats:
        """Return the levels of intensities, uint8."""
        low, high = (np.arcsinh(v / self.soft) for v in (self.low, self.high))
        share = (np.arcsinh(np.nan_to_num(values) / self.soft) - low) / (high - low)
        return np.asarray(np.rint(np.clip(share, 0, 1) * (INTENSITIES - 1)), np.uint8)

    def values(self, levels: Floats) -> Floats:
        """Return the intensities that levels stand for, e-/s."""
        low, high = (np.arcsinh(v / self.soft) for v in (self.low, self.high))
        return np.asarray(self.soft * np.sinh(low + np.asarray(levels, float) / (INTENSITIES - 1) * (high - low)))


def residual_levels(sigmas: Floats) -> Floats:
    """Return the levels of residuals in units of the noise, uint8."""
    share = (np.clip(np.nan_to_num(sigmas), -LIMIT, LIMIT) + LIMIT) / (2 * LIMIT)
    return np.asarray(INTENSITIES + np.rint(share * (RESIDUALS - 1)), np.uint8)


def residual_values(levels: Floats) -> Floats:
    """Return the residuals that levels stand for, in units of the noise."""
    return np.asarray((np.asarray(levels, float) - INTENSITIES) / (RESIDUALS - 1) * 2 * LIMIT - LIMIT)


def strips(epochs: PreparedEpochs, content: FitFile, stretch: Stretch) -> Floats:
    """Return each epoch's cutout, model and residual side by side as levels, (e, ny, 3 nx) uint8; y grows upwards."""
    c, fit = epochs.cutouts, content.fit
    hidden = c.mask | fit.outliers
    with np.errstate(invalid="ignore", divide="ignore"):
        sigma = (c.data - fit.model) / c.noise
    data = np.where(hidden | ~np.isfinite(c.data), HIDDEN, stretch.levels(c.data))
    residual = np.where(hidden | ~np.isfinite(sigma), HIDDEN, residual_levels(sigma))
    return np.concatenate([data, stretch.levels(fit.model), residual], axis=2).astype(np.uint8)


def palette() -> Floats:
    """Return the colours of the levels, (256, 3) uint8."""
    colours = np.tile(MASKED, (256, 1))
    colours[:INTENSITIES] = paint(np.linspace(0, 1, INTENSITIES), 0.0, 1.0, "magma")
    colours[INTENSITIES : INTENSITIES + RESIDUALS] = paint(np.linspace(-1, 1, RESIDUALS), -1.0, 1.0, "RdBu_r")
    return np.asarray(colours, np.uint8)


def sprites(levels: Floats, block: int = BLOCK) -> Iterator[str]:
    """Yield PNGs as data addresses, each of a block of epochs below each other, their upper rows first."""
    colours = palette().tobytes()
    for start in range(0, len(levels), block):
        part = levels[start : start + block, ::-1]
        image = Image.fromarray(np.ascontiguousarray(part.reshape(-1, part.shape[2])))
        image.putpalette(colours)
        stream = io.BytesIO()
        image.save(stream, "PNG", optimize=True)
        yield "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
