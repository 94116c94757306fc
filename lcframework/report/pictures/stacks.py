"""Stacks of a region's cutouts: of all light, without point sources, without background."""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.roi.cutout_files import FitFile, PreparedEpochs
from lcframework.roi.rendering import render
from lcframework.types import Floats

_QUARTER = np.pi / 2


@attrs.frozen(eq=False)
class Stacks:
    """Means over the epochs of a group, pixel by pixel; nan where a pixel is masked in all of them.

    Attributes
    ----------
    everything, without_sources, without_background : (ny, nx) arrays
        e-/s, normalised; y grows upwards.
    transform : (2, 3) array
        The mean of the epochs': from sky offsets (east, north) in arcsec to pixels.
    noise : float
        e-/s: the median noise of a pixel of the stack.
    """

    everything: Floats
    without_sources: Floats
    without_background: Floats
    transform: Floats
    noise: float


def point_sources(epochs: PreparedEpochs, content: FitFile) -> Floats:
    """Return the images of the point sources alone, (e, ny, nx) e-/s, by the fit's fluxes and places."""
    c, fit = epochs.cutouts, content.fit
    shape, kernels = c.data.shape[1:], c.kernels
    middle = (np.array(shape[::-1]) - 1) / 2
    images = np.zeros(c.data.shape)
    for i, transform in enumerate(c.transform):
        places = fit.offset @ transform[:, :2].T + transform[:, 2] + fit.translation[i] - middle
        for flux, place in zip(fit.flux[i], places, strict=True):
            if np.isfinite(flux):
                unit = render(kernels.values[i], place, shape, kernels.subsampling_factor, kernels.target_fwhm)
                images[i] += flux * unit
    return images


def quarter_turns(transform: Floats) -> list[int]:
    """Return by how many quarters of a turn each epoch's cutout is turned against the first's.

    Telescopes turn their cameras by half a turn at the meridian; a mean over unturned cutouts would show each
    neighbour twice. Quarter turns move pixels without mixing them; what is left of the angle remains.
    """
    inverse = np.linalg.inv(transform[0, :, :2])
    turns = [t[:, :2] @ inverse for t in transform]
    return [round(float(np.arctan2(t[1, 0] - t[0, 1], t[0, 0] + t[1, 1])) / _QUARTER) % 4 for t in turns]


def stacks(epochs: PreparedEpochs, content: FitFile) -> Stacks:
    """Return the stacks of a group: of data, of data less point sources, of data less the rest of the model.

    Masked pixels and outliers take no part. Cutouts are not resampled: each pixel is a mean of pixels.
    """
    c, fit = epochs.cutouts, content.fit
    points = point_sources(epochs, content)
    turns = quarter_turns(c.transform)
    hidden = c.mask | fit.outliers | ~np.isfinite(c.data)
    count = _turned(np.where(hidden, 0.0, 1.0), turns).sum(axis=0)

    def mean(images: Floats) -> Floats:
        total = _turned(np.where(hidden, 0.0, images), turns).sum(axis=0, dtype=float)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(total / count)

    noise = np.sqrt(mean(np.asarray(c.noise, float) ** 2) / np.maximum(count, 1))
    first = [t for t, k in zip(c.transform, turns, strict=True) if k == 0]
    return Stacks(
        mean(c.data), mean(c.data - points), mean(c.data - (fit.model - points)), np.mean(first, axis=0),
        float(np.nanmedian(noise)) if np.isfinite(noise).any() else np.nan,
    )  # fmt: skip


def _turned(images: Floats, turns: list[int]) -> Floats:
    """Return (e, n, n) images turned back by quarter turns."""
    if not any(turns):
        return images
    return np.stack([np.rot90(image, k) for image, k in zip(images, turns, strict=True)])
