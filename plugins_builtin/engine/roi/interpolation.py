"""STARRED's map from the deconvolved image to an epoch: bilinear rotation and translation of small pixels.

The deconvolved image has the small pixels of the first epoch. STARRED rotates it around pixel ``N // 2`` and translates
it, both bilinearly. Then it convolves it with the epoch's narrow PSF (``mode="same"``, which for an even kernel moves
the image by half a small pixel), and sums it over data pixels. Positions of point sources, ``c``, are in data pixels
from the stamp's geometric centre.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from jaxtyping import Float

from lcframework.types import Floats
from plugins_builtin.engine.roi.geometry import Epochs, small_pixel_transform, to_pixels

#: Rotations that move no pixel of a stamp by more than this (data pixels) are left out: they would only blur.
NEGLIGIBLE = 0.01


@attrs.frozen(eq=False)
class Alignment:
    """The rotations and translations from the deconvolved image, N small pixels a side, to the epochs."""

    size: int  # N
    subsampling: int
    offset: float  # small pixels by which convolution moves the image: 0.5 for even kernels
    alpha: Float[Floats, " e"]  # degrees
    translation: Float[Floats, "e 2"]  # data pixels, as registered

    def array_transform(self, epochs: Epochs) -> Float[Floats, "2 3"]:
        """Return the transform from the sky to the deconvolved image's array indices."""
        transform = small_pixel_transform(epochs.transform[0], self.subsampling)
        transform[:, 2] -= self.offset
        return transform


def align(epochs: Epochs, centre: Float[Floats, " 2"]) -> Alignment:
    """Return the rotations and translations that follow from the transforms, exact at tangent-plane point `centre`.

    STARRED's model has no change of scale: differences of scale between epochs remain as errors of position.
    """
    s = epochs.subsampling
    n = epochs.shape[0] * s
    offset = 0.5 if epochs.kernels.shape[1] % 2 == 0 else 0.0
    first = epochs.transform[0]
    alpha, translation = np.zeros(len(epochs)), np.zeros((len(epochs), 2))
    for e, transform in enumerate(epochs.transform):
        linear = transform[:, :2] @ np.linalg.inv(first[:, :2])
        angle = np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1])
        if abs(angle) * 0.5 * epochs.shape[0] < NEGLIGIBLE:
            angle = 0.0
        alpha[e] = np.degrees(angle)
        before = s * to_pixels(first, centre) + 0.5 * (s - 1) - offset - n // 2
        after = s * to_pixels(transform, centre) + 0.5 * (s - 1) - offset - n // 2
        translation[e] = (after - rotation_matrix(angle) @ before) / s
    return Alignment(n, s, offset, alpha, translation)


def rotation_matrix(angle: float) -> Float[Floats, "2 2"]:
    """Return the rotation by `angle` (rad) that acts on (x, y)."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def rotation_operator(size: int, degrees: Float[Floats, " e"]) -> Any:
    """Return bilinear rotations of e images around pixel N // 2, zero beyond the image; None where none is rotated.

    Each output pixel is interpolated between the four input pixels around the position that is rotated to it: four
    entries a row of a sparse (e N^2, e N^2) matrix, those of pixels beyond the image zero.
    """
    if not np.any(degrees):
        return None
    from scipy.sparse import csr_matrix

    half, area = size // 2, size * size
    y, x = np.mgrid[:size, :size] - half
    cosine, sine = (f(np.radians(degrees))[:, None] for f in (np.cos, np.sin))
    source_x = cosine * x.ravel() + sine * y.ravel() + half
    source_y = cosine * y.ravel() - sine * x.ravel() + half
    x0, y0 = np.floor(source_x).astype(np.int32), np.floor(source_y).astype(np.int32)
    fx, fy = source_x - x0, source_y - y0
    first = area * np.arange(len(degrees), dtype=np.int32)[:, None]
    columns = np.empty((len(degrees), area, 4), np.int32)
    values = np.empty((len(degrees), area, 4))
    for i, (dy, dx) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        inside = (x0 + dx >= 0) & (x0 + dx < size) & (y0 + dy >= 0) & (y0 + dy < size)
        columns[..., i] = first + np.where(inside, (y0 + dy) * size + x0 + dx, 0)
        values[..., i] = np.where(inside, (fx if dx else 1 - fx) * (fy if dy else 1 - fy), 0.0)
    rows = np.arange(0, columns.size + 1, 4, dtype=np.int32)
    return csr_matrix((values.ravel(), columns.ravel(), rows), shape=(len(degrees) * area,) * 2)


def translation_matrices(
    size: int, shift: Float[Floats, "*stack"]
) -> tuple[Float[Floats, "*stack {size} {size}"], Float[Floats, "*stack {size} {size}"]]:
    """Return the matrices of linear interpolation that move a row of N pixels by `shift`, and their derivatives.

    At the border the weights of the pixels inside are normalised. Pixels that are interpolated from more than half a
    pixel beyond the border are zero.
    """
    shift = np.asarray(shift, float)
    source = np.arange(size) - shift.reshape(-1, 1)
    first = np.floor(source).astype(int)
    part = source - first
    weights = [np.where((j >= 0) & (j < size), w, 0.0) for j, w in ((first, 1 - part), (first + 1, part))]
    # Output pixel i reads i - shift: its weight falls where the pixel read is on the far side.
    slopes = [np.where((j >= 0) & (j < size) & (part > 0), w, 0.0) for j, w in ((first, 1.0), (first + 1, -1.0))]
    total = weights[0] + weights[1]
    inside = (source >= -0.5) & (source <= size - 0.5) & (total > 1e-6)
    scale = np.where(inside, 1 / np.maximum(total, 1e-6), 0.0)
    slope = (slopes[0] + slopes[1]) * scale
    matrix, derivative = np.zeros((2, *source.shape, size))
    epoch, row = np.indices(source.shape)
    for j, w, d in zip((first, first + 1), weights, slopes, strict=True):
        column = np.clip(j, 0, size - 1)
        matrix[epoch, row, column] += w * scale
        derivative[epoch, row, column] += (d - w * slope) * scale
    shape = (*shift.shape, size, size)
    return matrix.reshape(shape), derivative.reshape(shape)
