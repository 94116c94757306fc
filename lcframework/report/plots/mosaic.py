"""Stamps in one image side by side: thirty axes would take a second to draw, one image takes almost no time."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import attrs
import matplotlib
import numpy as np

from lcframework.types import Bools, Floats

#: The colour of masked pixels.
MASKED = np.array([196, 199, 205], np.uint8)
_GAP = 2


@functools.cache
def _colours(name: str) -> Floats:
    """Return a map's 256 colours, (256, 3) uint8."""
    colours: Floats = np.asarray(matplotlib.colormaps[name](np.arange(256), bytes=True))
    return np.asarray(colours[:, :3])


def paint(values: Floats, low: float, high: float, colours: str, masked: Bools | None = None) -> Floats:
    """Return an image's (ny, nx, 3) colours; what is masked or nan is grey."""
    span = high - low if high > low else 1.0
    table = _colours(colours)
    scaled = np.clip((np.nan_to_num(values) - low) * (len(table) / span), 0, len(table) - 1)
    rgb: Floats = table[scaled.astype(np.uint8)]
    hidden = ~np.isfinite(values) if masked is None else masked | ~np.isfinite(values)
    rgb[hidden] = MASKED
    return rgb


def intensity(values: Floats, noise: float, masked: Bools | None = None) -> Floats:
    """Return the colours of an image in e-/s, stretched so that both noise and peak can be seen."""
    shown = values if masked is None else np.where(masked, np.nan, values)
    soft = max(3.0 * noise, 1e-12)
    stretched = np.arcsinh(values / soft)
    top = float(np.nanmax(np.arcsinh(shown / soft))) if np.isfinite(shown).any() else 1.0
    return paint(stretched, -1.0, max(top, 0.5), "magma", masked)


def linear(values: Floats, masked: Bools | None = None) -> Floats:
    """Return the colours of an image from its least to its greatest value."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return paint(values, low, high, "viridis", masked)


def diverging(values: Floats, limit: float, masked: Bools | None = None) -> Floats:
    """Return the colours of a residual image between plus and minus `limit`."""
    return paint(values, -limit, limit, "RdBu_r", masked)


@attrs.frozen(eq=False)
class Mosaic:
    """An image that contains stamps with white gaps, and the positions of its rows and columns."""

    image: Floats  # (height, width, 3)
    cell: tuple[int, int]  # (ny, nx) with the gap

    def column(self, j: int) -> float:
        """Return the x of a column's middle, pixels of the mosaic."""
        return j * self.cell[1] + (self.cell[1] - _GAP) / 2 - 0.5

    def row(self, i: int) -> float:
        """Return the y of a row's middle, pixels of the mosaic."""
        return i * self.cell[0] + (self.cell[0] - _GAP) / 2 - 0.5


def mosaic(rows: Sequence[Sequence[Floats]]) -> Mosaic:
    """Return coloured stamps of one size as rows from above; stamps have their origin at the lower left."""
    ny, nx = rows[0][0].shape[:2]
    height, width = ny + _GAP, nx + _GAP
    columns = max(len(r) for r in rows)
    image = np.full((len(rows) * height - _GAP, columns * width - _GAP, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, stamp in enumerate(row):
            image[i * height : i * height + ny, j * width : j * width + nx] = stamp[::-1]
    return Mosaic(image, (height, width))
