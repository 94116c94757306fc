"""The selection of frames for a region's calibrated cutouts, and the stars used for their registration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col, select

from lcframework.storage.queries import numeric_columns
from lcframework.storage.tables import Frame, RoiInFrame, StarFlux
from lcframework.types import Floats, LcfError


def shown(session: Session, roi: str, instrument: str, band: str) -> bool:
    """Return whether a frame of an instrument and band that is not eliminated contains a region."""
    frames = select(Frame.id).join(RoiInFrame, col(RoiInFrame.frame_id) == col(Frame.id))
    of_group = (Frame.instrument == instrument, Frame.band == band, ~col(Frame.eliminated))
    with_region = (RoiInFrame.roi == roi, col(RoiInFrame.roi_in_footprint))
    return session.exec(frames.where(*of_group, *with_region).limit(1)).first() is not None


def measured(session: Session, field: str, instrument: str, band: str) -> bool:
    """Return whether frames of a field, instrument and band have star fluxes."""
    fluxes = select(StarFlux.frame_id).join(Frame, col(StarFlux.frame_id) == col(Frame.id))
    of_group = (Frame.instrument == instrument, Frame.band == band, StarFlux.combined_footprint_hash == field)
    return session.exec(fluxes.where(*of_group).limit(1)).first() is not None


def check_columns(frames: Mapping[str, Any], normalization: Mapping[str, Any]) -> None:
    """Refuse limits on columns that do not exist or are not numeric.

    Raises
    ------
    LcfError
        Names the unknown columns and the existing ones.
    """
    for table, limits in (("frames", frames), ("normalization_coefficients", normalization)):
        known = numeric_columns(table)
        unknown = [name for name in limits if name not in known]
        if unknown:
            raise LcfError(
                f"[roi_cutouts] {'frames' if table == 'frames' else 'normalization'}: table {table} has no column of "
                f"numbers called {', '.join(unknown)}; it has {', '.join(known)}"
            )


def star_positions(session: Session, field: str) -> dict[int, tuple[Floats, Floats, Floats]]:
    """Return by frame id the star positions from the WCS, the measured ones, and their errors; (n, 2) each, pixels."""
    p, m = SQLModel.metadata.tables["stars_in_frames"].c, SQLModel.metadata.tables["star_flux_in_frame"].c
    same = (getattr(p, name) == getattr(m, name) for name in ("combined_footprint_hash", "frame_id", "gaia_id"))
    query = (
        sa.select(m.frame_id, p.x, p.y, m.x, m.y, m.x_uncertainty, m.y_uncertainty)
        .where(*same, m.combined_footprint_hash == field)
        .order_by(m.frame_id, m.gaia_id)
    )
    columns = list(zip(*session.execute(query).all(), strict=True)) or [()] * 7
    frames, values = np.array(columns[0], int), np.array(columns[1:], float).T
    found, first = np.unique(frames, return_index=True)
    arrays = np.split(values, first[1:])
    return {frame: (a[:, :2], a[:, 2:4], a[:, 4:]) for frame, a in zip(found.tolist(), arrays, strict=False)}
