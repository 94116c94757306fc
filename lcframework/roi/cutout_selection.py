"""The selection of frames for a region's calibrated cutouts, and the stars used for their registration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sqlmodel import Session, col, select

from lcframework.storage.queries import numeric_columns
from lcframework.storage.tables import Frame, RoiInFrame, StarFlux, StarInFrame
from lcframework.types import Floats, LcfError


def shown(session: Session, roi: str, instrument: str, band: str) -> bool:
    """Return whether a frame of an instrument and band that is not eliminated contains a region."""
    frames = select(Frame.id).join(RoiInFrame, col(RoiInFrame.frame_id) == col(Frame.id))
    of_group = (Frame.instrument == instrument, Frame.band == band, ~col(Frame.eliminated))
    with_region = (RoiInFrame.roi == roi, col(RoiInFrame.roi_in_footprint))
    return session.exec(frames.where(*of_group, *with_region)).first() is not None


def measured(session: Session, field: str, instrument: str, band: str) -> bool:
    """Return whether frames of a field, instrument and band have star fluxes."""
    fluxes = select(StarFlux.frame_id).join(Frame, col(StarFlux.frame_id) == col(Frame.id))
    of_group = (Frame.instrument == instrument, Frame.band == band, StarFlux.combined_footprint_hash == field)
    return session.exec(fluxes.where(*of_group)).first() is not None


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
    query = (
        select(StarInFrame, StarFlux)
        .where(
            StarInFrame.frame_id == StarFlux.frame_id,
            StarInFrame.gaia_id == StarFlux.gaia_id,
            StarInFrame.combined_footprint_hash == StarFlux.combined_footprint_hash,
            StarFlux.combined_footprint_hash == field,
        )
        .order_by(col(StarFlux.gaia_id))
    )
    rows: dict[int, list[list[float]]] = {}
    for predicted, flux in session.exec(query):
        rows.setdefault(flux.frame_id, []).append(
            [predicted.x, predicted.y, flux.x, flux.y, flux.x_uncertainty, flux.y_uncertainty]
        )
    arrays = {frame: np.array(values) for frame, values in rows.items()}
    return {frame: (a[:, :2], a[:, 2:4], a[:, 4:]) for frame, a in arrays.items()}
