"""The state of a raw file: which stages it passed, and why it is in no light curve."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from lcframework.config.project_file import Config
from lcframework.config.sections import Selection
from lcframework.frames.exclusions import IMPORT
from lcframework.provenance import complete, describe
from lcframework.stars.selection import CHI2_FLOOR, keep, limits
from lcframework.storage.queries import FrameRow
from lcframework.types import file_name
from lcframework.work import FrameKey, Ledger

#: Why a frame is left out that passes all selections.
TO_BE_REMADE = "its stamps or its PSF are to be made again"


class FrameState(enum.StrEnum):
    """The last state that a raw file has reached."""

    FOUND = "found"
    IMPORTED = "imported"
    NOT_SOLVED = "not solved"
    SOLVED = "solved"  # its footprint has not been calculated yet
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


def frame_status(frame: FrameRow, ledger: Ledger, left_out: str = "") -> FrameStatus:
    """Return the state of a frame.

    Parameters
    ----------
    frame : row of ``frames`` or FoundFile
        The file.
    ledger : Ledger
        The existing products.
    left_out : str
        Why a selection excludes it from the light curves; empty where none does.
    """
    name = file_name(frame.original_image_path)
    if frame.eliminated:
        return FrameStatus(name, FrameState.ELIMINATED, frame.comment)
    if ledger.product(IMPORT, FrameKey(frame.id or 0)) is None:
        return FrameStatus(name, FrameState.FOUND, frame.comment or "not imported yet")
    if not frame.plate_solved:
        state = FrameState.NOT_SOLVED if frame.attempted_plate_solve else FrameState.IMPORTED
        return FrameStatus(name, state, frame.comment.removeprefix(f"{state}: "))
    if not frame.roi_in_footprint:
        # The stage of the footprints writes a comment where it finds no region; a new import or solution clears it.
        if frame.comment:
            return FrameStatus(name, FrameState.SET_ASIDE, frame.comment)
        return FrameStatus(name, FrameState.SOLVED, "its footprint has not been calculated yet")
    comment = frame.comment or left_out
    return FrameStatus(name, FrameState.LEFT_OUT if comment else FrameState.USED, comment)


def left_out(
    frames: Iterable[FrameRow],
    coefficients: Iterable[Any],
    psfs: Iterable[Any],
    measured: Collection[int],
    config_for: Callable[[str], Config],
) -> dict[int, str]:
    """Return which selection excludes a frame from the light curves of one field's regions, by frame id.

    Frames that an earlier stage could not use, or has not processed yet, are not included.

    Parameters
    ----------
    frames : iterable of rows
        The rows of the frames.
    coefficients, psfs : iterables of rows
        The rows of the field.
    measured : collection of int
        The ids of the frames that passed all selections.
    config_for : callable
        Returns the configuration of an instrument.
    """
    of_frame = {c.frame_id: c for c in coefficients}
    psf_of = {p.frame_id: p for p in psfs}
    shown = [f for f in frames if f.id in psf_of and f.roi_in_footprint and not f.eliminated and not f.comment]
    groups: dict[tuple[str, str], list[FrameRow]] = {}
    for frame in shown:
        groups.setdefault((frame.instrument, frame.band), []).append(frame)
    out: dict[int, str] = {}
    for group in groups.values():
        config = config_for(group[0].instrument)
        outside = {f.id: _limits_missed(f, of_frame.get(f.id or 0), config) for f in group}
        # The normalization selects among all frames, the cutouts among those within all limits.
        for members in (group, [f for f in group if f.id in of_frame and not outside[f.id]]):
            chi2 = {f.id or 0: psf_of[f.id or 0].chi2 for f in members}
            for frame_id, reason in _poor_psfs(chi2, config.photometry.psf_chi2).items():
                if frame_id not in measured:
                    out.setdefault(frame_id, reason)
        for frame in group:
            frame_id = frame.id or 0
            if frame_id in measured:
                continue
            found = [*outside[frame_id], *([out[frame_id]] if frame_id in out else [])]
            if frame_id not in of_frame and frame_id not in out:
                found.append("no star gives it a normalization coefficient")
            out[frame_id] = "; ".join(found) or TO_BE_REMADE
    return out


def left_out_of_fields(
    frames: Iterable[FrameRow],
    coefficients: Iterable[Any],
    psfs: Iterable[Any],
    measured: Collection[int],
    config_for: Callable[[str], Config],
    fields: Mapping[str, Sequence[str]],
) -> dict[int, str]:
    """Return which selection excludes a frame from all light curves, by frame id; see :func:`left_out`.

    Where the reasons of several fields differ, each is stated with its field's regions.

    Parameters
    ----------
    frames, coefficients, psfs : iterables of rows
        The rows of all fields.
    measured : collection of int
        The ids of the frames that passed all selections of a field.
    config_for : callable
        Returns the configuration of an instrument.
    fields : mapping
        The regions of each field.
    """
    frames, coefficients, psfs = list(frames), list(coefficients), list(psfs)
    found: dict[int, dict[str, str]] = {}
    for field, regions in fields.items():
        own, own_psfs = ([r for r in rows if r.combined_footprint_hash == field] for rows in (coefficients, psfs))
        for frame_id, why in left_out(frames, own, own_psfs, measured, config_for).items():
            found.setdefault(frame_id, {})[", ".join(regions)] = why
    return {
        frame_id: next(iter(by_field.values()))
        if len(set(by_field.values())) == 1
        else "; ".join(f"for {regions}: {why}" for regions, why in by_field.items())
        for frame_id, by_field in found.items()
    }


def _poor_psfs(chi2: Mapping[int, float], selection: Selection) -> dict[int, str]:
    """Return why ``[photometry] psf_chi2`` leaves out frames, by their ids."""
    values = np.array(list(chi2.values()))
    low, high = limits(values, selection, CHI2_FLOOR)
    kept = keep(values, selection, CHI2_FLOOR)
    rule = ", ".join(f"{name} = {value}" for name, value in complete(describe(selection)).items() if value is not None)
    return {
        frame: f"its PSF's chi2 of {chi2[frame]:.2f} {'exceeds' if chi2[frame] > high else 'is below'} "
        f"{high if chi2[frame] > high else low:.2f}, the limit that [photometry] psf_chi2 = {{ {rule} }} sets among "
        f"{len(values)} frames"
        for frame, good in zip(chi2, kept, strict=True)
        if not good
    }


def _limits_missed(frame: FrameRow, coefficient: Any | None, config: Config) -> list[str]:
    """Return which limits of ``[roi_cutouts]`` keep a frame out."""
    found = _outside("frames", frame, config.roi_cutouts.frames)
    if coefficient is not None:
        found += _outside("normalization", coefficient, config.roi_cutouts.normalization)
    return found


def _outside(what: str, row: Any, limits: Mapping[str, tuple[float, float]]) -> list[str]:
    out = []
    for name, (low, high) in limits.items():
        value = getattr(row, name)
        if not isinstance(value, int | float):
            out.append(f"{name} is unknown, and [roi_cutouts] {what} asks for it")
        elif not low <= value <= high:
            out.append(f"{name} = {value:.3g} lies outside [roi_cutouts] {what}: [{low:g}, {high:g}]")
    return out
