"""Frames with an unusual sky, such as the sun above the horizon; their headers may be misinterpreted."""

from __future__ import annotations

from collections.abc import Iterator

from sqlmodel import Session, col

from lcframework.storage.queries import frame_rows
from lcframework.storage.tables import Frame
from lcframework.types import Doubt, FrameFlag, file_name

_STRANGE = {
    FrameFlag.SUN_UP: Doubt(
        "sun_up", "the sun was above the horizon", "Check that times and [telescope] are right"
    ),
    FrameFlag.TARGET_DOWN: Doubt(
        "target_down", "a region of interest was below the horizon", "Check that times and [telescope] are right"
    ),
    FrameFlag.ODD_TIME: Doubt(
        "odd_time", "the time lies before 1972 or in the future", "Check that it is read from the right keyword"
    ),
}  # fmt: skip


def strange_frames(session: Session) -> Iterator[tuple[Doubt, tuple[str, ...]]]:
    """Yield a doubt for each kind of unusual circumstance, with the names of its frames."""
    frames = frame_rows(session, col(Frame.flags) > 0, ~col(Frame.eliminated))
    for flag, doubt in _STRANGE.items():
        names = tuple(file_name(f.original_image_path) for f in frames if f.flags & flag)
        if names:
            yield doubt, names
