"""The state of a raw file: which stages it passed, and why it is in no light curve."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import attrs

from lcframework.config.project_file import Config
from lcframework.frames.exclusions import IMPORT
from lcframework.storage.tables import Frame, NormalizationCoefficient, PsfRow
from lcframework.work import FrameKey, Ledger


class FrameState(enum.StrEnum):
    """The last state that a raw file has reached."""

    FOUND = "found"
    IMPORTED = "imported"
    NOT_SOLVED = "not solved"
    SET_ASIDE = "set aside"  # it contains no region of interest
    LEFT_OUT = "left out later"
    USED = "used"
    ELIMINATED = "eliminated"


@attrs.frozen
class FrameStatus:
    """The state of a raw file, with a comment where it is not used."""

    file: str
    state: FrameState
    comment: str


def frame_status(frame: Frame, ledger: Ledger, left_out: str = "") -> FrameStatus:
    """Return the state of a frame.

    Parameters
    ----------
    frame : Frame
        The row of the file.
    ledger : Ledger
        The existing products.
    left_out : str
        Why a selection excludes it from the light curves; empty where none does.
    """
    name = Path(frame.original_image_path).name
    if frame.eliminated:
        return FrameStatus(name, FrameState.ELIMINATED, frame.comment)
    if ledger.product(IMPORT, FrameKey(frame.id or 0)) is None:
        return FrameStatus(name, FrameState.FOUND, "not imported yet")
    if not frame.plate_solved:
        state = FrameState.NOT_SOLVED if frame.attempted_plate_solve else FrameState.IMPORTED
        return FrameStatus(name, state, frame.comment.removeprefix(f"{state}: "))
    if not frame.roi_in_footprint:
        return FrameStatus(name, FrameState.SET_ASIDE, frame.comment or "contains no region of interest")
    comment = frame.comment or left_out
    return FrameStatus(name, FrameState.LEFT_OUT if comment else FrameState.USED, comment)


def left_out(
    frames: Iterable[Frame],
    coefficients: Iterable[NormalizationCoefficient],
    psfs: Iterable[PsfRow],
    measured: Collection[int],
    config_for: Callable[[str], Config],
) -> dict[int, str]:
    """Return which selection excludes a frame from the light curves, by frame id.

    Frames that an earlier stage could not use, or has not processed yet, are not included.

    Parameters
    ----------
    frames, coefficients, psfs : iterables of rows
        The rows of the fields in use.
    measured : collection of int
        The ids of the frames that passed all selections.
    config_for : callable
        Returns the configuration of an instrument.
    """
    of_frame = {c.frame_id: c for c in coefficients}
    psf_of = {p.frame_id: p for p in psfs}
    return {
        frame.id: _reason(frame, of_frame.get(frame.id), psf_of[frame.id], config_for(frame.instrument))
        for frame in frames
        if frame.id is not None and frame.id not in measured and frame.id in psf_of
        if frame.roi_in_footprint and not frame.eliminated and not frame.comment
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
