"""Why frames that contain a region are in no light curve: the selections that they did not pass, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlmodel import Session, col, select

from lcframework.config import Config
from lcframework.database import Frame, NormalizationCoefficient, PsfRow
from lcframework.stages.base import Unit
from lcframework.tools import Setup


def reasons(session: Session, setup: Setup, units: Sequence[Unit]) -> dict[int, str]:
    """Return the reason for each frame that no unit of ``prepare_calibrated_cutouts`` holds, by the frame's id.

    Frames that an earlier stage could not use, or has not reached, are not among them.
    """
    used = {epoch.frame["id"] for unit in units for epoch in unit.payload.epochs}
    coefficients = {c.frame_id: c for c in session.exec(select(NormalizationCoefficient))}
    psfs = {p.frame_id: p for p in session.exec(select(PsfRow))}
    frames = select(Frame).where(Frame.roi_in_footprint, sa.not_(col(Frame.eliminated)), Frame.comment == "")
    return {
        frame.id: _reason(frame, coefficients.get(frame.id), psfs[frame.id], setup.config_for(frame.instrument))
        for frame in session.exec(frames)
        if frame.id is not None and frame.id not in used and frame.id in psfs
    }


def _reason(frame: Frame, coefficient: NormalizationCoefficient | None, psf: PsfRow, config: Config) -> str:
    found = _outside("frames", frame.model_dump(), config.roi_cutouts.frames)
    if coefficient is None:
        found.append("no star gives it a normalization coefficient")
    else:
        found += _outside("normalization", coefficient.model_dump(), config.roi_cutouts.normalization)
    if found:
        return "; ".join(found)
    return f"its PSF's chi2 of {psf.chi2:.2f} does not pass [photometry] psf_chi2"


def _outside(what: str, row: Mapping[str, object], limits: Mapping[str, tuple[float, float]]) -> list[str]:
    out = []
    for name, (low, high) in limits.items():
        value = row[name]
        if not isinstance(value, int | float):
            out.append(f"{name} is unknown, and [roi_cutouts] {what} asks for it")
        elif not low <= value <= high:
            out.append(f"{name} = {value:.3g} lies outside [roi_cutouts] {what}: [{low:g}, {high:g}]")
    return out
