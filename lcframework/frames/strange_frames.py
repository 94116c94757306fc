"""Frames that were taken under so strange a sky that their headers may be misread."""

from __future__ import annotations

from pathlib import Path

from sqlmodel import Session, col, select

from lcframework.storage.tables import Frame
from lcframework.types import FrameFlag

_STRANGE = {
    FrameFlag.SUN_UP: "the sun was above the horizon; are times and [telescope] right?",
    FrameFlag.TARGET_DOWN: "a region of interest was below the horizon; are times and [telescope] right?",
    FrameFlag.ODD_TIME: "the time lies before 1972 or is yet to come; is it read from the right keyword?",
}


def strange_frames(session: Session) -> list[str]:
    """Return a sentence on each kind of strange circumstance, with the frames that it holds for."""
    frames = session.exec(select(Frame).where(Frame.flags > 0, ~col(Frame.eliminated)).order_by(col(Frame.id))).all()
    out = []
    for flag, text in _STRANGE.items():
        names = [Path(f.original_image_path).name for f in frames if f.flags & flag]
        if names:
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            out.append(f"{text}: {len(names)} frame{'s' if len(names) > 1 else ''} ({shown})")
    return out
