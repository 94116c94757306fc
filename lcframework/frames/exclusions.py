"""Exclusion of frames, by the user or because they are no frames of the sky, and its reversal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlmodel import Session, col, select

from lcframework.frames.found_file import Excludable
from lcframework.storage.tables import CombinedFootprint, Frame, Product, ProductState
from lcframework.types import LcfError, file_name, readable
from lcframework.work.keys import FrameKey

EXCLUDED_IN_FILE = "excluded by [frames] exclude"
EXCLUDED_BY_COMMAND = "excluded: "
COPY = "the same contents as "
SET_ASIDE = "a calibration frame by its header: "
#: The stages whose comment on a frame is stored unchanged; later stages put their names before their comments.
IMPORT, PLATE_SOLVING = "read_convert_skysub_character_catalog", "plate_solving"


def exclude_frames(session: Session, names: Sequence[str], why: str) -> int:
    """Exclude frames, and return the number of frames that changed.

    Parameters
    ----------
    session : Session
        On the project's database.
    names : sequence of str
        File names, paths or frame names.
    why : str
        The reason, which is recorded.

    Raises
    ------
    LcfError
        Where no frame has a name.
    """
    frames = _named(session, names)
    for _, frame in frames:
        frame.eliminated, frame.comment = True, EXCLUDED_BY_COMMAND + readable(why)
    return len({frame.id for _, frame in frames})


def include_frames(session: Session, names: Sequence[str]) -> int:
    """Undo exclusions by :func:`exclude_frames`, and return the number of frames that changed.

    Raises
    ------
    LcfError
        Where no frame has a name, or its frame is not excluded, or was not excluded by :func:`exclude_frames`.
    """
    frames = _named(session, names)
    for name, frame in frames:
        if not frame.comment.startswith(EXCLUDED_BY_COMMAND):
            state = frame.comment if frame.eliminated else "not excluded"
            raise LcfError(f"{name} can't be taken back in: {state}")
    for _, frame in frames:
        undo_exclusion(session, frame)
    return len({frame.id for _, frame in frames})


def names_of(key: str, path: str) -> tuple[str, str, str, str]:
    """Return what a frame may be called, from its key and the path of its raw file: the names for people first."""
    return key, file_name(path), Path(path).name, path


def _named(session: Session, names: Sequence[str]) -> list[tuple[str, Frame]]:
    """Return (name, frame) for the frames with these names; files in several folders may have the same name."""
    frames = list(session.exec(select(Frame)))
    found = []
    for name in names:
        called = [f for f in frames if name in names_of(f.key, f.original_image_path)]
        if not called:
            raise LcfError(f'no frame is called "{name}"; `lcf status` lists them')
        found += [(name, frame) for frame in called]
    return found


def undo_exclusion(session: Session, frame: Excludable) -> None:
    """Undo an exclusion: the frame gets the state in which the stages left it."""
    own = frame.id or 0
    # Later stages have one unit for each frame and field of reference stars.
    fields = session.exec(select(CombinedFootprint.hash).where(CombinedFootprint.active))
    keys = [FrameKey(own), *(FrameKey(own, field) for field in fields)]
    of_frame = col(Product.unit).in_([str(key) for key in keys])
    unusable = select(Product).where(of_frame, Product.state == ProductState.UNUSABLE.value)
    last_first = (col(Product.run_id).desc(), col(Product.stage), col(Product.unit))
    reasons: dict[str, str] = {}
    for product in session.exec(unusable.order_by(*last_first)):
        reasons.setdefault(product.stage, product.reason)
    later = next((f"{stage}: {why}" for stage, why in reasons.items() if stage not in (IMPORT, PLATE_SOLVING)), "")
    frame.eliminated = IMPORT in reasons
    frame.comment = reasons.get(IMPORT) or reasons.get(PLATE_SOLVING) or later


def set_aside(session: Session, frame: Excludable, why: str) -> None:
    """Exclude a frame that is no frame of the sky; undo that where `why` is empty."""
    if why:
        frame.eliminated, frame.comment = True, why
    elif frame.comment.startswith(SET_ASIDE):
        undo_exclusion(session, frame)


def apply_list(session: Session, frame: Excludable, listed: bool) -> None:
    """Exclude a frame that ``[frames] exclude`` lists; undo that where it is not listed any more."""
    if listed:
        frame.eliminated, frame.comment = True, EXCLUDED_IN_FILE
    elif frame.comment == EXCLUDED_IN_FILE:
        undo_exclusion(session, frame)


def exclude_copy(session: Session, frame: Excludable, of: str) -> None:
    """Take a frame out whose file is a copy of the file `of`; or back in, where `of` is empty and that was the reason.

    Parameters
    ----------
    session : Session
        On the project's database.
    frame : Frame or FoundFile
        The frame.
    of : str
        The path of the file that is used in its place.
    """
    if of:
        frame.eliminated, frame.comment = True, f"{COPY}{of}: the exposure is used once"
    elif frame.comment.startswith(COPY):
        undo_exclusion(session, frame)


def takes_part(frame: Excludable) -> bool:
    """Whether the frame is to be imported: neither excluded, nor a copy of another."""
    return not excluded(frame) and not (frame.eliminated and frame.comment.startswith(COPY))


def excluded(frame: Excludable) -> bool:
    """Return whether the user excluded the frame."""
    return frame.eliminated and (frame.comment == EXCLUDED_IN_FILE or frame.comment.startswith(EXCLUDED_BY_COMMAND))
