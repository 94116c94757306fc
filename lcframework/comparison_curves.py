"""The light curves of comparison stars as a table with the columns of a region's light curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from sqlmodel import Session, select

from lcframework.roi.light_curves import flux_columns, with_units
from lcframework.stars.star_curves import StarCurves, star_curves
from lcframework.storage.queries import fields_of_regions
from lcframework.storage.tables import Star
from lcframework.types import EPOCH_COLUMNS, SOURCE_COLUMNS, EpochFlag, Floats, Ints, LcfError
from lcframework.types.arrays import plain_floats

if TYPE_CHECKING:
    from astropy.table import QTable


def comparison_table(session: Session, curve: QTable) -> QTable:
    """Return the light curves of the stars beside a region's, with the same epochs and columns.

    The sources are the stars, by their letters: those that the normalization leaves out, too. Each is calibrated by the
    others alone (:mod:`lcframework.stars.star_curves`). ``meta["stars"]`` has their identifiers and magnitudes in the
    catalogue, and why a star is left out, if it is; ``meta["region"]`` is the region. ``reduced_chi2`` and
    ``d_flux_common`` are nan: they are of the region's fit.

    Parameters
    ----------
    session : Session
        On the project's database.
    curve : QTable
        The region's light curve; its ``meta["roi"]`` says which.

    Raises
    ------
    LcfError
        Where the region's stars have no fluxes in the database.
    """
    from astropy.table import Table

    roi = str(curve.meta["roi"])
    field = fields_of_regions(session).get(roi, "")
    stars = {s.gaia_id: s for s in session.exec(select(Star).where(Star.combined_footprint_hash == field))}
    instruments, bands = (np.asarray(curve[name], str) for name in ("instrument", "band"))
    groups = {g: star_curves(session, field, *g) for g in sorted(set(zip(instruments, bands, strict=True)))}
    comments: dict[str, set[str]] = {}
    for group in groups.values():
        for star, comment in zip(group.stars, group.comment, strict=True):
            if star in stars:
                comments.setdefault(star, set()).update({comment} - {""})
    if not comments:
        raise LcfError(f"{roi}: the database has no fluxes of comparison stars; run the project again")
    ids = sorted(comments, key=lambda s: (len(stars[s].name), stars[s].name))
    table = Table({c.name: np.asarray(getattr(curve[c.name], "value", curve[c.name])) for c in EPOCH_COLUMNS})
    table["reduced_chi2"] = np.nan
    table["flags"] = table["flags"] & EpochFlag.FRAME_DOUBTED.value
    columns = {f"{stars[s].name}_{c.name}": np.full(len(table), np.nan) for s in ids for c in SOURCE_COLUMNS}
    frames, zeropoints = plain_floats(curve["frame_id"]).astype(int), plain_floats(curve["zeropoint"])
    for (instrument, band), group in groups.items():
        rows = np.flatnonzero((instruments == instrument) & (bands == band))
        row_of = {frame: i for i, frame in enumerate(group.frames)}
        there = np.array([row_of.get(frame, -1) for frame in frames[rows].tolist()])
        for s in set(ids) & set(group.stars):
            for name, values in _columns(group, s, there, float(zeropoints[rows[0]])).items():
                columns[f"{stars[s].name}_{name}"][rows] = values
    for name, values in columns.items():
        table[name] = values
    out = with_units(table, [str(curve.meta.get("magnitude_system", "none"))])
    out.meta.update(
        roi=f"{roi}_stars",
        region=roi,
        positions={stars[s].name: [stars[s].ra, stars[s].dec] for s in ids},
        stars={
            stars[s].name: {"id": s, "magnitude": stars[s].magnitude, "left_out": "; ".join(sorted(comments[s]))}
            for s in ids
        },
        **{name: curve.meta[name] for name in ("ra", "dec", "calibration") if name in curve.meta},
    )
    return out


def _columns(group: StarCurves, star: str, rows: Ints, zeropoint: float) -> Mapping[str, Floats]:
    """Return the columns of a star in the epochs of one instrument and band; `rows` of the group, -1 where absent."""
    k, known = group.stars.index(star), rows >= 0

    def at(values: Floats) -> Floats:
        return np.where(known, values[rows, k], np.nan)

    flux, error, fitted = at(group.flux), at(group.d_flux), at(group.d_flux_fit)
    return {
        **flux_columns(flux, error, fitted, np.full(len(rows), np.nan), zeropoint),
        "x": at(group.x),
        "y": at(group.y),
    }
