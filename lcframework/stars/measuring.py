"""The stars that are measured together, of a frame or of many, as photometry plugins take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from lcframework.storage.stamp_files import Stamp
from lcframework.types import PSF, Floats, PhotometryResult, Stamps


@attrs.frozen
class FrameStars:
    """The stars to measure in one frame, and the files that hold their stamps and the PSF."""

    frame_id: int
    field: str
    instrument: str
    stamps: str
    psf: str
    psf_ref: str
    ids: tuple[str, ...]
    exptime: float = 0.0  # s; 0: unknown
    radii: tuple[float, ...] = ()  # pixels, of discs in which residual light is measured


@attrs.frozen
class PhotometryPayload:
    """What one unit measures: the stars of one frame, or one star in many frames."""

    frames: tuple[FrameStars, ...]
    star: str = ""
    without: tuple[int, ...] = ()  # ids of frames of the group in which the star is not measured


@attrs.frozen(eq=False)
class PhotometryValues:
    """Stamps in the order of `rows` (index of the frame, star), and the PSFs of the frames."""

    payload: PhotometryPayload
    stamps: list[Stamp]
    psfs: list[PSF]
    rows: list[tuple[int, str]]


def stacked(batch: Sequence[PhotometryValues], correlation: float, aperture: float) -> Stamps:
    """Return the stamps of units in the order of their rows.

    Parameters
    ----------
    batch : sequence of PhotometryValues
        Of stamps of one shape.
    correlation : float
        ``[stamps] noise_correlation``: photons have so much less of their variance in single pixels.
    aperture : float
        Pixels; ``[photometry] aperture``.
    """
    stamps = [stamp for values in batch for stamp in values.stamps]
    return Stamps(
        np.stack([s.data for s in stamps]),
        np.stack([s.noise for s in stamps]),
        np.stack([s.mask > 0 for s in stamps]),
        np.array([s.offset for s in stamps]),
        np.concatenate([_photon_variance(values) for values in batch]) / correlation,
        aperture,
        np.concatenate([_radii(values) for values in batch]),
    )


def _photon_variance(values: PhotometryValues) -> Floats:
    """Return (n,) the photon variance per e-/s of light where pixels share no noise; 0: unknown."""
    exptimes = [values.payload.frames[frame].exptime for frame, _ in values.rows]
    return np.array([1 / t if t > 0 else 0.0 for t in exptimes])


def misfits(batch: Sequence[PhotometryValues]) -> Floats:
    """Return (n, r) the stamps' misfits, with zeros where those of their frames have fewer rings."""
    rows = [values.psfs[frame].misfit for values in batch for frame, _ in values.rows]
    out = np.zeros((len(rows), max((len(row) for row in rows), default=0)))
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def _radii(values: PhotometryValues) -> Floats:
    """Return (n, d) the radii of each stamp's discs, pixels."""
    radii = [values.payload.frames[frame].radii for frame, _ in values.rows]
    return np.array(radii, float).reshape(len(values.rows), -1)


def alike_in_sampling(batch: Sequence[PhotometryValues]) -> dict[Any, list[int]]:
    """Return the indices in a batch of units whose stamps and kernels have equal shapes and sampling.

    A batch may contain different ones where a filter excluded some units when an option was changed.
    """
    out: dict[Any, list[int]] = {}
    for i, values in enumerate(batch):
        kinds = [(p.subsampling_factor, p.target_fwhm, p.narrow.shape) for p in values.psfs]
        out.setdefault((values.stamps[0].data.shape, *dict.fromkeys(kinds)), []).append(i)
    return out


def part(result: PhotometryResult, start: int, end: int) -> PhotometryResult:
    """Return the measurements of the stamps from index `start` to `end`."""
    return PhotometryResult(*(getattr(result, f.name)[start:end] for f in attrs.fields(PhotometryResult)))
