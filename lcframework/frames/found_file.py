"""A raw file that was found, as the driver looks at it before anything is written."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from lcframework.storage.tables import Frame


@attrs.define
class FoundFile:
    """The columns of ``frames`` that tell which file it is and whether it takes part, as they are to be written."""

    id: int
    original_image_path: str
    key: str
    raw_size: int = 0
    raw_mtime_ns: int = 0
    raw_digest: str = ""
    eliminated: bool = False
    comment: str = ""
    band: str = ""
    instrument: str = ""
    flags: int = 0
    plate_solved: bool = False
    attempted_plate_solve: bool = False
    roi_in_footprint: bool = False
    image_relpath: str | None = None


#: Whatever can be excluded.
Excludable: TypeAlias = Frame | FoundFile
