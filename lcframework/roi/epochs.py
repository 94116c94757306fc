"""The epochs of a region: the frames that pass the selection, with their columns from the database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlmodel import Session, SQLModel

from lcframework.roi.cutout_selection import check_columns
from lcframework.types import EPOCH_COLUMNS

#: Arrays with one entry for each epoch, by column name.
EpochColumns = Mapping[str, NDArray[Any]]

#: Columns of cutouts that are not in the light curve, with their origin in the database.
CUTOUT_COLUMNS = {
    "exptime": "frames.exptime",
    "frame_flags": "frames.flags",
    "pixel_scale": "frames.pixel_scale",
    "angle_to_north": "frames.angle_to_north",
    "background_rms": "frames.background_rms_electron_per_second",
    "azimuth": "rois_in_frames.azimuth",
    "normalization_coefficient": "normalization_coefficients.coefficient",
    "normalization_coefficient_uncertainty": "normalization_coefficients.coefficient_uncertainty",
}
#: Columns that are used to make the cutouts and are not stored.
_FILES = {"wcs_path": "frames.wcs_relpath", "psf_path": "PSFs.path", "psf_chi2": "PSFs.chi2"}
_TEXTS = {*(c.name for c in EPOCH_COLUMNS if c.text), "wcs_path", "psf_path"}
_FROM_TABLES = {c.name: c.origin for c in EPOCH_COLUMNS if c.origin}
#: Columns from frames and regions in frames; cutouts depend on their values, in addition to their input products.
FRAME_COLUMNS = tuple(
    name
    for name, origin in {**_FROM_TABLES, **CUTOUT_COLUMNS}.items()
    if origin.partition(".")[0] in ("frames", "rois_in_frames")
)
#: All columns that files of cutouts and fits store, as one array each.
STORED_COLUMNS = (*(c.name for c in EPOCH_COLUMNS if c.origin), "relative_normalization_error", *CUTOUT_COLUMNS)


def selected_epochs(
    session: Session,
    field: str,
    roi: str,
    instrument: str,
    band: str,
    frames: Mapping[str, Any],
    normalization: Mapping[str, Any],
) -> dict[str, NDArray[Any]]:
    """Return the epochs of a region, instrument and band within all limits, in the order of time.

    Epochs are frames that contain the region and have a PSF and a coefficient, which is that at the region where
    several share a field. The columns are `STORED_COLUMNS`, and those that are needed to make cutouts.

    Parameters
    ----------
    session : Session
        On the project's database.
    field : str
        The field of reference stars.
    roi, instrument, band : str
        The region, instrument and band of the epochs.
    frames, normalization : mapping
        Limits (lowest, highest) on columns of ``frames`` and of ``normalization_coefficients``.

    Raises
    ------
    LcfError
        Where a limit names a column that the table does not have.
    """
    check_columns(frames, normalization)
    tables = {
        t: SQLModel.metadata.tables[t]
        for t in ("frames", "rois_in_frames", "normalization_coefficients", "PSFs", "region_coefficients")
    }
    f, r, n, p, at_region = tables.values()
    columns = {**_FROM_TABLES, **CUTOUT_COLUMNS, **_FILES}
    wanted: dict[str, sa.ColumnElement[Any]] = {
        name: tables[t].c[c] for name, origin in columns.items() for t, c in [origin.split(".")]
    }
    for name in ("normalization_coefficient", "normalization_coefficient_uncertainty"):
        wanted[name] = sa.func.coalesce(at_region.c[columns[name].split(".")[1]], wanted[name])
    query = (
        sa.select(*(column.label(name) for name, column in wanted.items()))
        .select_from(f)
        .join(r, sa.and_(r.c.frame_id == f.c.id, r.c.roi == roi, r.c.roi_in_footprint))
        .join(n, sa.and_(n.c.frame_id == f.c.id, n.c.combined_footprint_hash == field))
        .join(p, sa.and_(p.c.frame_id == f.c.id, p.c.combined_footprint_hash == field))
        .outerjoin(
            at_region,
            sa.and_(
                at_region.c.frame_id == f.c.id, at_region.c.combined_footprint_hash == field, at_region.c.roi == roi
            ),
        )
        .where(~f.c.eliminated, n.c.instrument == instrument, n.c.band == band)
        .where(*(f.c[name].between(*limits) for name, limits in frames.items()))
        .where(*(n.c[name].between(*limits) for name, limits in normalization.items()))
        .order_by(f.c.mjd, f.c.id)
    )
    rows = session.execute(query).all()
    found = {name: _array([row[i] for row in rows], name in _TEXTS) for i, name in enumerate(columns)}
    coefficient, error = found["normalization_coefficient"], found["normalization_coefficient_uncertainty"]
    found["relative_normalization_error"] = error / coefficient
    return found


def _array(values: list[Any], text: bool) -> NDArray[Any]:
    """Return the values of a column as an array; None becomes nan, or an empty text."""
    if text:
        return np.array(["" if v is None else v for v in values], object)
    return np.array([np.nan if v is None else v for v in values])


def filled(count: int, **known: Any) -> dict[str, NDArray[Any]]:
    """Return all `STORED_COLUMNS` for `count` epochs: the given ones, and nan or empty texts for the others."""
    out = {}
    for name in STORED_COLUMNS:
        value = known.pop(name, "" if name in _TEXTS else np.nan)
        kind: Any = object if name in _TEXTS else None
        out[name] = np.array(np.broadcast_to(np.asarray(value, kind), count))
    if known:
        raise TypeError(f"no column of an epoch is called {', '.join(known)}")
    return out


def chosen(columns: EpochColumns, keep: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return some of the epochs, by a mask or by their indices."""
    return {name: values[keep] for name, values in columns.items()}
