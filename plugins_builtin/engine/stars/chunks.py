"""Photometry of many stamps, some at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lcframework.types import Floats, Kernels, PhotometryResult, Stamps, UnusableInput

# Stamps at a time: bounds the memory, and keeps the work in the processor's cache.
_CHUNK = 64
_ARRAYS = (
    "flux", "x", "y", "background", "covariance", "reduced_chi2", "model", "residual_light", "residual_covariance",
)  # fmt: skip


def measure_in_chunks(
    stamps: Stamps, kernels: Kernels, measure: Callable[[slice], PhotometryResult], together: bool = False
) -> PhotometryResult:
    """Return what `measure` answers for all stamps, which it gets as slices; `together`: as a single one.

    Raises
    ------
    UnusableInput
        Where there is not one kernel for each stamp.
    """
    if len(kernels.values) != len(stamps):
        raise UnusableInput(f"{len(stamps)} stamps came with {len(kernels.values)} PSF kernels: one each is needed")
    step = max(len(stamps), 1) if together else _CHUNK
    parts = [measure(slice(begin, begin + step)) for begin in range(0, len(stamps), step)]
    if not parts:
        empty = np.zeros(0)
        images = np.zeros((0, *stamps.data.shape[1:]))
        return PhotometryResult(empty, empty, empty, empty, np.zeros((0, 3, 3)), empty, (), images, images.astype(bool))
    joined: dict[str, Floats] = {name: np.concatenate([getattr(p, name) for p in parts]) for name in _ARRAYS}
    outliers = np.concatenate([p.outliers for p in parts])
    return PhotometryResult(status=tuple(s for p in parts for s in p.status), outliers=outliers, **joined)
