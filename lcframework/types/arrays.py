"""Types of NumPy arrays for annotations, and columns of tables as such arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]
Ints = NDArray[np.integer[Any]]


def plain_floats(column: Any) -> Floats:
    """Return a column's numbers as float64, without its unit and nan where masked."""
    return np.asarray(np.ma.filled(np.ma.asarray(getattr(column, "value", column)).astype(float), np.nan))
