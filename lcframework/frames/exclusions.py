"""Frames that take no part: excluded by the user, or set aside because they are none of the sky; and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlmodel import Session, col, select

from lcframework.storage.tables import CombinedFootprint, Frame, Product
from lcframework.types import LcfError
from lcframework.work.keys import FrameKey
from lcframework.work.ledger import ProductState

EXCLUDED_IN_FILE = "excluded by [frames] exclude"
EXCLUDED_BY_COMMAND = "excluded: "
SET_ASIDE = "a calibration frame by its header: "
#: The stages whose verdict on a frame is its comment as it stands; later ones put their names before theirs.
IMPORT, PLATE_SOLVING = "read_convert_skysub_character_catalog", "plate_solving"


def take_out(session: Session, names: Sequence[str], why: str) -> int:
    """Exclude frames, and return how many.

    Parameters
    ----------
    session : Session
        On the project's database.
    names : sequence of str
        File names, paths or keys.
    why : str
        The reason that is recorded.

    Raises
    ------
    LcfError
        Where a name is no frame's.
    """
    frames = _named(session, names)
    for _, frame in frames:
        frame.eliminated, frame.comment = True, EXCLUDED_BY_COMMAND + why
    return len({frame.id for _, frame in frames})


def take_in(session: Session, names: Sequence[str]) -> int:
    """Undo exclusions by :func:`take_out`, and return how many.

    Raises
    ------
    LcfError
        Where a name is no frame's, or its frame is not excluded, or not so.
    """
    frames = _named(session, names)
    for name, frame in frames:
        if not frame.comment.startswith(EXCLUDED_BY_COMMAND):
            state = frame.comment if frame.eliminated else "not excluded"
            raise LcfError(f"{name} can't be taken back in: {state}")
    for _, frame in frames:
        take_back(session, frame)
    return len({frame.id for _, frame in frames})


def _named(session: Session, names: Sequence[str]) -> list[tuple[str, Frame]]:
    """Return the frames of names, each beside its name: files in several folders may share one."""
    frames = list(session.exec(select(Frame)))
    found = []
    for name in names:
        called = [f for f in frames if name in (f.key, Path(f.original_image_path).name, f.original_image_path)]
        if not called:
            raise LcfError(f'no frame is called "{name}"; `lcf status` lists them')
        found += [(name, frame) for frame in called]
    return found


def take_back(session: Session, frame: Frame) -> None:
    """Undo an exclusion: the frame stands as the stages left it."""
    own = frame.id or 0
    # Later stages work on a frame once for each field of reference stars.
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


def set_aside(session: Session, frame: Frame, why: str) -> None:
    """Take a frame out that is none of the sky; or back in, where `why` is empty and that was the reason."""
    if why:
        frame.eliminated, frame.comment = True, why
    elif frame.comment.startswith(SET_ASIDE):
        take_back(session, frame)


def apply_list(session: Session, frame: Frame, listed: bool) -> None:
    """Take a frame out that ``[frames] exclude`` lists; or back in, where it does not any more."""
    if listed:
        frame.eliminated, frame.comment = True, EXCLUDED_IN_FILE
    elif frame.comment == EXCLUDED_IN_FILE:
        take_back(session, frame)


def excluded(frame: Frame) -> bool:
    """Whether the user took the frame out."""
    return frame.eliminated and (frame.comment == EXCLUDED_IN_FILE or frame.comment.startswith(EXCLUDED_BY_COMMAND))
