"""Files of a frame's flux estimates (HDF5): what is measured on each star, before the estimates are combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from lcframework.storage.files import atomic
from lcframework.types import Floats

_TEXTS = ("combined_footprint_hash", "gaia_id", "psf_ref", "status")


@attrs.frozen(eq=False)
class FrameEstimates:
    """The stars measured in one frame: rows of ``star_flux_in_frame`` by the PSF alone, and the light it misses."""

    rows: list[dict[str, Any]]
    radii: Floats  # (d,) pixels
    light: Floats  # (n, d) e-/s, the residual light in discs of these radii
    covariance: Floats  # (n, d, d) of `light`


def write_estimates(path: Path, estimates: FrameEstimates) -> None:
    """Write the estimates of one frame, a dataset for each column of its rows."""
    import h5py

    with atomic(path) as temporary, h5py.File(temporary, "w", libver="latest") as file:
        for name, values in _columns(estimates.rows).items():
            text = name in _TEXTS
            file.create_dataset(f"rows/{name}", data=np.array(values, h5py.string_dtype()) if text else values)
        file["radii"], file["light"], file["covariance"] = estimates.radii, estimates.light, estimates.covariance


def read_estimates(path: Path) -> FrameEstimates:
    """Read what :func:`write_estimates` wrote."""
    import h5py

    with h5py.File(path, "r") as file:
        columns = {}
        for name, dataset in file["rows"].items() if "rows" in file else ():
            text = dataset.dtype.kind == "O"
            columns[name] = [v.decode() for v in dataset[()]] if text else dataset[()].tolist()
        names = list(columns)
        rows = [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return FrameEstimates(rows, file["radii"][()], file["light"][()], file["covariance"][()])


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
