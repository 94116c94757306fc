"""The lines of transit files, an epoch each: time, relative flux, its error, then columns to detrend by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lcframework.types import Floats, UnusableInput
from plugins_builtin.shared.exported_epochs import SourceEpochs, relative


def detrending(epochs: SourceEpochs, names: Sequence[str]) -> list[Floats]:
    """Return the columns to detrend by.

    Raises
    ------
    UnusableInput
        Where one of them is not known in all epochs.
    """
    columns = [epochs.column(name) for name in names]
    for name, values in zip(names, columns, strict=True):
        if not np.isfinite(values).all():
            raise UnusableInput(f"detrend: {name} is not known in all epochs: choose other columns of the light curve")
    return columns


def transit_rows(
    epochs: SourceEpochs, times: Floats, columns: Sequence[Floats] = (), *, separator: str = " ", decimals: int = 8
) -> list[str]:
    """Return the lines of a night in the order of time.

    Parameters
    ----------
    epochs : SourceEpochs
        Whose flux is written relative to its median.
    times : ndarray
        Days, written with eight decimals.
    columns : sequence of ndarray
        What follows the error.
    separator : str
        Between values.
    decimals : int
        Of all values but the times.

    Raises
    ------
    UnusableInput
        Where the median flux is not positive.
    """
    values = [*relative(epochs), *columns]
    return [
        separator.join([f"{times[i]:.8f}", *(f"{v[i]:.{decimals}f}" for v in values)])
        for i in np.argsort(times, kind="stable")
    ]
