"""What rules are shown: a bounded sample of an instrument's frames, and what can be measured on them."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import numpy as np
from sqlmodel import Session, col, select

from lcframework.config.project_file import Config
from lcframework.config.sections import SECTIONS
from lcframework.config.toolbox import Toolbox
from lcframework.frames.samples import at_equal_steps, pairs_alike
from lcframework.roi.choosing_model import discs_of
from lcframework.sky.tracks import Track, carried, tracks
from lcframework.storage.frame_files import read_frame, read_table, read_wcs
from lcframework.storage.queries import FrameRow, active_stars, frame_rows
from lcframework.storage.tables import Frame, Star, StarInFrame
from lcframework.types import (
    CatalogLimits,
    Evidence,
    Floats,
    FrameEvidence,
    FrameFlag,
    Ints,
    MeasuredGain,
    NeedMissing,
    Region,
    UnusableInput,
)
from lcframework.work.reading import checked_product

if TYPE_CHECKING:
    from astropy.table import Table

log = logging.getLogger(__name__)

#: The reference stars in use, read from the database once.
ActiveStars: TypeAlias = Callable[[], Mapping[tuple[str, str], Star]]

#: Reads the image and mask of an imported frame.
Pixels: TypeAlias = Callable[[Toolbox, FrameRow], tuple[Floats, Ints]]

#: Where a gain is only compared with that of headers, it is measured on so many pairs and so large a part of frames.
PAIRS_TO_COMPARE, LARGEST_TO_COMPARE = 3, 768


def stored_pixels(toolbox: Toolbox, frame: FrameRow) -> tuple[Floats, Ints]:
    """Return the image and mask of an imported frame by its file."""
    return read_frame(toolbox.workdir / (frame.image_relpath or ""))[:2]


def evidence(
    session: Session, toolbox: Toolbox, instrument: str, frames: Sequence[FrameRow], wanted: int,
    pixels: Pixels = stored_pixels,
) -> Evidence:  # fmt: skip
    """Return what rules decide by.

    Parameters
    ----------
    session : Session
        On the project's database.
    toolbox : Toolbox
        The settings and tools so far.
    instrument : str
        Whose frames these are; empty for settings that all share.
    frames : sequence of rows of ``frames``
        Those that the stages so far have made, in the order of time.
    wanted : int
        The number of frames to be sampled from them.
    pixels : callable
        Reads a frame's image and mask.
    """
    config = toolbox.config_for(instrument)
    stars = functools.cache(functools.partial(active_stars, session))
    return Evidence(
        instrument,
        tuple(_frame(session, toolbox, f, stars, pixels) for f in at_equal_steps(frames, wanted)),
        _places(config, tracks(session, toolbox)),
        {section: getattr(config, section) for section in SECTIONS},
        functools.partial(_gain, toolbox, frames),
        functools.partial(_catalogue, toolbox),
        discs_of(toolbox, instrument),
    )


def _places(config: Config, moving: Mapping[str, Track]) -> dict[str, Floats]:
    """Return the places of regions and of their point sources; where one moves, those in the middle of its track."""
    out = {}
    for name, roi in config.roi.items():
        out[name] = np.array([(roi.ra, roi.dec), *roi.point_sources.values()])
        if name in moving and (track := moving[name]):
            ra, dec = (float(values[len(track) // 2]) for values in (track.ra, track.dec))
            out[name] = np.concatenate([[(ra, dec)], carried(roi, ra, dec)])
    return out


def _frame(session: Session, toolbox: Toolbox, frame: FrameRow, stars: ActiveStars, pixels: Pixels) -> FrameEvidence:
    workdir = toolbox.workdir

    def checked(path: str | None) -> Path:
        return checked_product(session, workdir, path or "")

    return FrameEvidence(
        dict(frame._mapping),
        lambda: pixels(toolbox, frame),
        lambda: read_table(checked(frame.sources_relpath)),
        lambda: read_wcs(checked(frame.wcs_relpath)),
        lambda: _stars(session, frame.id or 0, stars()),
    )


def _stars(session: Session, frame_id: int, active: Mapping[tuple[str, str], Star]) -> Table:
    from astropy.table import Table

    rows = []
    for s in session.exec(select(StarInFrame).where(StarInFrame.frame_id == frame_id)):
        star = active.get((s.combined_footprint_hash, s.gaia_id))
        if star is not None:
            rows.append((s.gaia_id, star.name, s.x, s.y, star.magnitude, star.distance_to_roi_arcsec,
                         s.signal_to_noise or 0.0, bool(s.usable)))  # fmt: skip
    names = ("gaia_id", "name", "x", "y", "magnitude", "distance", "signal_to_noise", "usable")
    return Table(rows=rows, names=names) if rows else Table(names=names)


def _catalogue(toolbox: Toolbox, region: Region, limits: CatalogLimits) -> Table | None:
    tool = toolbox.tool("stars")
    try:
        return None if tool is None else tool.ask("query", region, limits)
    except NeedMissing as error:
        log.warning("settings are decided without the catalogue: %s", error)
        return None  # the stage that needs it says so


def _gain(toolbox: Toolbox, frames: Sequence[FrameRow]) -> MeasuredGain:
    """Measure the gain on pairs of successive frames of one filter and exposure; on single frames where there is none.

    Where headers give gains, these are to be compared: frames in other units have none.
    """
    from lcframework.frames.photon_transfer import LARGEST, PAIRS, central, halves, measure_gain
    from lcframework.frames.raw_frames import RawFrame, read_raw

    settings = toolbox.config.frames
    unstated = any(f.flags & FrameFlag.GAIN_MEASURED for f in frames)
    most, size = (PAIRS, LARGEST) if unstated else (PAIRS_TO_COMPARE, LARGEST_TO_COMPARE)
    rows = [f for f in frames if f.flags & FrameFlag.GAIN_MEASURED or f.gain]

    def raw(frame: FrameRow) -> RawFrame:
        return read_raw(Path(frame.original_image_path), settings)

    # Through another filter the pixels' response is another one, which the difference of two frames would keep.
    alike = pairs_alike(rows, lambda f: (f.band, f.exptime))
    pairs: list[tuple[Floats, Floats]] = []
    whole, unread = True, ""
    for pair in at_equal_steps(alike, most):
        try:
            first, second = map(raw, pair)
        except UnusableInput:
            continue
        except OSError as error:
            unread = str(error)
            continue
        if first.image.shape == second.image.shape:
            pairs.append((central(first.image, size), central(second.image, size)))
            whole = whole and first.storage.bits > 0
    if not pairs:
        for frame in at_equal_steps(rows, most):
            try:
                pairs.append(halves(central(raw(frame).image, size)))
            except UnusableInput:
                continue
            except OSError as error:
                unread = str(error)
    if unread and not pairs:
        raise NeedMissing(f"raw files could not be read to measure the gain: {unread}. Run again when they can be read")
    found = measure_gain(pairs, whole)
    return attrs.evolve(found, pairs=len(pairs))


def frames_made(session: Session, in_footprint: bool) -> list[FrameRow]:
    """Return the imported frames that take part, in the order of time.

    Parameters
    ----------
    session : Session
        On the project's database.
    in_footprint : bool
        Whether only those that contain a region are wanted.
    """
    conditions: list[Any] = [~col(Frame.eliminated), col(Frame.image_relpath).is_not(None)]
    if in_footprint:
        conditions.append(col(Frame.roi_in_footprint))
    return list(frame_rows(session, *conditions, by_time=True))
