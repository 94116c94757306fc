"""``plots/star_photometry/<group>_<star>.jpg``: a star's mean stamp, its stacked residuals, its chi2 in all frames.

Models are not stored: they are computed again from the PSF and the fluxes. So a shared starlet background, where the
photometry fits one, remains in the residuals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from lcframework.report.plots.canvas import COLOURS, Canvas, nice_ticks
from lcframework.report.plots.mosaic import diverging, intensity
from lcframework.roi.rendering import render
from lcframework.storage.psf_files import read_psf
from lcframework.storage.stamp_files import Stamp, read_stamps
from lcframework.types import Floats

_LIMIT = 5.0  # sigma


@attrs.frozen
class Measured:
    """A star's measurement in a frame."""

    flux: float
    x: float  # pixels of the frame
    y: float
    background: float
    chi2: float


@attrs.frozen
class FrameFluxes:
    """One frame's files, and the measurements of its stars by gaia_id."""

    stamps: str
    psf: str
    stars: Mapping[str, Measured]


@attrs.frozen
class Payload:
    """The frames of one field, instrument and band; `stars` are (gaia_id, title), one plot each."""

    frames: tuple[FrameFluxes, ...]
    stars: tuple[tuple[str, str], ...]
    model: Any  # the PSF plugin


@attrs.define(eq=False)
class Stack:
    """Sums over the stamps of a star."""

    data: Floats
    residual: Floats
    variance: Floats
    count: Floats
    chi2: list[float]

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Stack:
        """Return sums that contain no stamps yet."""
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape), [])

    def add(self, stamp: Stamp, model: Floats, chi2: float) -> None:
        """Add one epoch."""
        good = (stamp.mask == 0) & np.isfinite(model)
        self.data += np.where(good, stamp.data, 0.0)
        self.residual += np.where(good, stamp.data - model, 0.0)
        self.variance += np.where(good, stamp.noise**2, 0.0)
        self.count += good
        self.chi2.append(chi2)


def draw(stack: Stack, title: str) -> Canvas:
    """Return the picture."""
    side = 1.65
    made = Canvas(4 * side + 1.95, side + 0.72, title)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, residual = stack.data / stack.count, stack.residual / stack.count
        sigma, noise = stack.residual / np.sqrt(stack.variance), np.sqrt(stack.variance) / stack.count
    # Pixels that are masked in most frames, for example because of a neighbour, give no information on the star.
    rare = stack.count < 0.5 * stack.count.max()
    mean, residual, sigma = (np.where(rare, np.nan, image) for image in (mean, residual, sigma))
    typical = float(np.nanmedian(noise)) if np.isfinite(noise).any() else 1.0
    span = float(np.nanmax(np.abs(residual))) if np.isfinite(residual).any() else 1.0
    images = (
        (intensity(mean, typical), "mean"),
        (diverging(residual, span), f"residual, ± {span:.2g} e⁻/s"),
        (diverging(sigma, _LIMIT), f"residual, ± {_LIMIT:.0f} σ"),
    )
    for i, (image, label) in enumerate(images):
        left = 0.1 + i * (side + 0.12)
        made.picture(image[::-1], left, 0.15, side, side)
        made.text(left, 0.2 + side, label, size=8.5)
    _histogram(made, (3 * (side + 0.12) + 0.65, 0.48, side + 0.7, side - 0.33), np.array(stack.chi2))
    return made


def _histogram(made: Canvas, box: tuple[float, float, float, float], chi2: Floats) -> None:
    """Draw the histogram of reduced chi2; the last bin includes all larger values."""
    chi2 = chi2[np.isfinite(chi2)]
    if not chi2.size:
        return
    left, bottom, _, height = box
    top = max(2.0, float(np.quantile(chi2, 0.98)) * 1.15)
    counts, edges = np.histogram(np.minimum(chi2, top), bins=30, range=(0, top))
    axes = made.axes(box, (0, top), (0, 1.05 * counts.max()))
    made.bars(axes, edges, counts, COLOURS[0])
    made.line([(float(u), float(v)) for u, v in (axes.at(1.0, 0.0), axes.at(1.0, axes.y[1]))], COLOURS[1], 1.0)
    ticks = nice_ticks(0, top, 5)
    axes.ticks(ticks, [f"{t:g}" for t in ticks], upright=False)
    ticks = nice_ticks(0, float(counts.max()), 4)
    axes.ticks(ticks, [f"{t:.0f}" for t in ticks], upright=True)
    made.text(left, bottom + height + 0.07, f"reduced χ², {chi2.size} frames, median {np.median(chi2):.2f}", size=8.5)
    made.text_upright(left - 0.38, bottom + height / 2, "frames")


def stacks(workdir: Path, payload: Payload) -> dict[str, Stack]:
    """Return every star's sums; each frame's files are opened once."""
    out: dict[str, Stack] = {}
    for frame in payload.frames:
        found = read_stamps(workdir / frame.stamps, list(frame.stars), wcs=False)
        psf = read_psf(workdir / frame.psf)
        ids = [i for i in frame.stars if i in found]
        if not ids:
            continue
        xy = np.array([[frame.stars[i].x, frame.stars[i].y] for i in ids])
        kernels = payload.model.at(psf, xy)
        for star, kernel, position in zip(ids, kernels, xy, strict=True):
            stamp, row = found[star], frame.stars[star]
            unit = render(kernel, position - stamp.centre, stamp.data.shape, psf.subsampling_factor, psf.target_fwhm)
            stack = out.setdefault(star, Stack.empty(stamp.data.shape))
            if stack.data.shape == stamp.data.shape:
                stack.add(stamp, row.flux * unit + row.background, row.chi2)
    return out


def figures(workdir: Path, payload: Payload) -> Iterator[Canvas]:
    """Read all frames once, and draw a figure a star."""
    done = stacks(workdir, payload)
    for star, title in payload.stars:
        yield draw(done.get(star, Stack.empty((1, 1))), title)
