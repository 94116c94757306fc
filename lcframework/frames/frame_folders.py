"""The folders of frames' files: a folder of ten thousand files is slow to list, and on some file systems to open."""

from __future__ import annotations

import datetime as dt
import math

#: So many of a project's frames have their files directly in ``frames/`` and ``regions/``; later ones have folders.
FLAT = 1000
_MJD_0 = dt.date(1858, 11, 17)


def folder_of(frame_id: int, mjd: float, longitude: float) -> str:
    """Return the folder of a frame's files below ``frames/`` and ``regions/``.

    Parameters
    ----------
    frame_id : int
        The frame's row; the first `FLAT` frames of a project have no folder.
    mjd : float
        UTC, days.
    longitude : float
        Of the telescope, degrees east: a night lasts from local noon to local noon.

    Returns
    -------
    str
        The date on which the night began, such as ``2024-02-29``; or empty.
    """
    if frame_id <= FLAT:
        return ""
    return (_MJD_0 + dt.timedelta(days=math.floor(mjd - 0.5 + longitude / 360))).isoformat()
