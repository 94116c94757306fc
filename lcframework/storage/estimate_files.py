"""Files of a frame's flux estimates (HDF5): what is measured on each star, before the estimates are combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from lcframework.storage import hdf5
from lcframework.types import Floats


@attrs.frozen(eq=False)
class FrameEstimates:
    """The stars measured in one frame: rows of ``star_flux_in_frame`` by the PSF alone, and the light it misses."""

    rows: list[dict[str, Any]]
    radii: Floats  # (d,) pixels
    light: Floats  # (n, d) e-/s, the residual light in discs of these radii
    covariance: Floats  # (n, d, d) of `light`


def write_estimates(path: Path, estimates: FrameEstimates) -> None:
    """Write the estimates of one frame; the rows are a table, with a field for each column."""
    with hdf5.packed_file(path) as file:
        if estimates.rows:
            hdf5.put(file, "rows", _table(estimates.rows))
        for name, values in (("radii", estimates.radii), ("light", estimates.light),
                             ("covariance", estimates.covariance)):  # fmt: skip
            hdf5.put(file, name, values)


def read_estimates(path: Path) -> FrameEstimates:
    """Read what :func:`write_estimates` wrote."""
    import h5py

    with h5py.File(path, "r") as file:
        columns = {}
        rows = file.get("rows", {})
        for name in rows.dtype.names if isinstance(rows, h5py.Dataset) else rows:
            values = rows[name][()] if isinstance(rows, h5py.Group) else rows[name]  # a group in earlier versions
            columns[name] = [v.decode() for v in values] if values.dtype.kind in "OS" else values.tolist()
        names = list(columns)
        found = [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return FrameEstimates(found, file["radii"][()], file["light"][()], file["covariance"][()])


def _table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return rows as an array with named fields; texts are UTF-8."""
    columns = {name: np.array([_stored(row[name]) for row in rows]) for name in rows[0]}
    out = np.zeros(len(rows), [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        out[name] = values
    return out


def _stored(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value
