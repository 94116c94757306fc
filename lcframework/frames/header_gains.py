"""The gains that headers give, and frames whose header gives none: these get what the noise tells."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
from sqlmodel import Session, col, select

from lcframework.config.toolbox import Toolbox
from lcframework.frames.found_file import FoundFile
from lcframework.frames.header_parsing import parse_header
from lcframework.provenance import Components
from lcframework.storage.tables import Frame
from lcframework.types import DataUnit, FrameFlag, HeaderInfo, LcfError, UnusableInput


def note_gains(session: Session, toolbox: Toolbox) -> None:
    """Record instrument, filter and exposure of new frames, and their header's gain; flag those whose gives none.

    Their gain is decided, or compared with their noise, before the import. Headers of frames that were imported are not
    read again. Of frames in other units than ADU no gain is recorded here, for their noise tells none.
    """
    from lcframework.frames.raw_frames import read_raw_header

    parsers, settings = toolbox.all("header"), toolbox.config.frames
    for frame in session.exec(select(Frame).where(col(Frame.mjd).is_(None), ~col(Frame.eliminated))):
        path = Path(frame.original_image_path)
        try:
            info = parse_header(parsers, read_raw_header(path, settings)[0], path)
        except (LcfError, OSError):
            continue  # the import says what is wrong with it
        frame.instrument, frame.band, frame.exptime = info.instrument, info.band, info.exptime
        if np.isnan(info.gain):
            frame.flags |= FrameFlag.GAIN_MEASURED
        elif info.data_unit is DataUnit.ADU:
            frame.gain = info.gain
        session.add(frame)
    session.flush()


def measured_gain(frame: FoundFile, toolbox: Toolbox) -> Components:
    """Return the gain as a component of a frame whose header gives none; else nothing."""
    if not frame.flags & FrameFlag.GAIN_MEASURED:
        return {}
    return {"gain": toolbox.config_for(frame.instrument).header.gain}


def with_gain(info: HeaderInfo, gain: float) -> HeaderInfo:
    """Return a header's values with the gain of the settings where the header gives none.

    Parameters
    ----------
    info : HeaderInfo
        What the header says.
    gain : float
        e-/ADU; 0 where it is not known.

    Raises
    ------
    UnusableInput
        Where neither gives one.
    """
    if not np.isnan(info.gain):
        return info
    if gain == 0:
        raise UnusableInput(
            "the header gives no gain, and the noise of the frames does not tell it (`lcf settings` says why): set "
            "gain (e-/ADU) in [header], or gain_keyword in [header.fits], or use a header plugin"
        )
    return attrs.evolve(info, gain=gain, flags=info.flags | FrameFlag.GAIN_MEASURED)
