"""A frame cut into squares, in which levels and noise are measured."""

from __future__ import annotations

import numpy as np

from lcframework.types import Bools, Floats

SQUARE = 32  # pixels; their side


def squares(image: Floats | Bools) -> np.ndarray:
    """Return an image's whole squares: (n, SQUARE, SQUARE)."""
    ny, nx = (n // SQUARE for n in image.shape)
    cut = image[: ny * SQUARE, : nx * SQUARE].reshape(ny, SQUARE, nx, SQUARE)
    return np.asarray(cut.swapaxes(1, 2).reshape(ny * nx, SQUARE, SQUARE))
