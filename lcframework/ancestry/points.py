"""Which number is asked about: a region, a source and a frame, as people name them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import attrs
from sqlmodel import Session

from lcframework.ancestry.facts import date_of, mjd_of
from lcframework.config.project_file import Config
from lcframework.config.sections import Roi
from lcframework.config.structuring import resolve_path
from lcframework.frames.exclusions import names_of
from lcframework.frames.raw_folders import find_files
from lcframework.options import nearest
from lcframework.sky.times import EARLIEST, LATEST
from lcframework.storage.queries import FrameRow, frame_rows
from lcframework.types import LcfError, file_name
from lcframework.work.scopes import UnknownName

#: JD less MJD.
_JULIAN = 2_400_000.5
#: A frame further from a time that was asked for is another night's, days.
FURTHEST = 0.5


@attrs.frozen
class Asked:
    """A source of a region in a frame; `how` says which frame a time led to."""

    roi: str
    source: str
    frame_id: int
    how: str = ""


def understood(session: Session, config: Config, words: Sequence[str]) -> Asked:
    """Return what the words ``[REGION] [SOURCE] FRAME`` ask for.

    Parameters
    ----------
    session : Session
        On the project's database.
    config : Config
        The project file.
    words : sequence of str
        One to three. The region may be left out where the project has one, or where only one has such a source; the
        source where the region has one. The frame: its id, the name of the frame or its file, or a time (MJD, JD, or a
        date such as ``2019-03-26T05:10``), to which the nearest frame is taken.

    Raises
    ------
    UnknownName
        Where there is no such region or source, or it is not clear which is meant; says what there is.
    LcfError
        As :func:`find_frame`.
    """
    *names, frame = words
    roi, source = _whose(config.roi, names)
    row, how = find_frame(session, config, frame)
    return Asked(roi, source, row.id, how)


def _whose(rois: Mapping[str, Roi], names: Sequence[str]) -> tuple[str, str]:
    """Return the region and the source that one, two or no names stand for."""
    if len(names) > 2:
        raise UnknownName(f"too many names: {' '.join(names)}. Give [REGION] [SOURCE] FRAME")
    sources = {roi: list(section.point_sources) for roi, section in rois.items()}
    every = [(roi, name) for roi, of_roi in sources.items() for name in of_roi]
    fits = [pair for pair in every if all(name in pair for name in names)]
    if len(names) == 2:
        fits = [pair for pair in every if pair == tuple(names)]
    if len(fits) == 1:
        return fits[0]
    there = "; ".join(f"{roi}: {', '.join(of_roi) or 'none'}" for roi, of_roi in sources.items())
    if fits:
        what = "which region and source" if len(rois) > 1 else "which source"
        raise UnknownName(
            f"{what} is meant? The point sources: {there}. Give {'REGION ' * (len(rois) > 1)}SOURCE FRAME"
        )
    for name in names:
        if name not in rois and name not in {s for _, s in every}:
            known = [*rois, *dict.fromkeys(s for _, s in every)]
            raise UnknownName(f'no region or point source is called "{name}"{nearest(name, known)}. There are: {there}')
    raise UnknownName(f"{' '.join(names) or 'no region'}: there is no such point source. There are: {there}")


def find_frame(session: Session, config: Config, word: str) -> tuple[FrameRow, str]:
    """Return the row of the frame that a word stands for, and how a time led to it (else empty).

    Raises
    ------
    LcfError
        Where there is none, or several have the name.
    """
    rows = frame_rows(session)
    if word.isdigit() and (by_id := [r for r in rows if r.id == int(word)]):
        return by_id[0], ""
    called = [r for r in rows if word in names_of(r.key, r.original_image_path)]
    if len(called) == 1:
        return called[0], ""
    if called:
        which = ", ".join(f"{r.id} ({r.original_image_path})" for r in called)
        raise LcfError(f'{len(called)} frames are called "{word}": give the id of one: {which}')
    mjd = _time(word)
    if mjd is not None:
        return _at(rows, mjd)
    known = [n for r in rows for n in names_of(r.key, r.original_image_path)[:2]]
    raise LcfError(f'no frame is called "{word}"{_why_unknown(config, word, known)}')


def _why_unknown(config: Config, word: str, names: Sequence[str]) -> str:
    """Return why a file is no frame: it is new, or not what is looked for; else the nearest name."""
    try:
        new = any(word in (p.name, p.stem, str(p)) for p in find_files(config))
    except LcfError as error:
        return f"; {error}"
    if new:
        return ": the file is there, and no run has found it yet: `lcf run` imports it"
    for folder in config.frames.raw_dirs:
        path = resolve_path(folder, config.directory) / word
        if path.is_file():
            return (
                f': {path} is there, and does not match [frames] pattern = "{config.frames.pattern}", so that no run '
                "takes it: change the pattern, or the file's name"
            )
    folders = ", ".join(str(resolve_path(d, config.directory)) for d in config.frames.raw_dirs)
    return f", and no such file lies in {folders} ([frames] raw_dirs){nearest(word, names)}"


def _time(word: str) -> float | None:
    """Return a word as MJD, or None where it is no time."""
    try:
        value = float(word)
    except ValueError:
        try:
            whole_day = 0.0 if ":" in word or "T" in word else 0.5  # its middle
            return mjd_of(dt.datetime.fromisoformat(word)) + whole_day
        except ValueError:
            return None
    for mjd in (value, value - _JULIAN):
        if EARLIEST <= mjd <= LATEST:
            return mjd
    return None


def _at(rows: Sequence[FrameRow], mjd: float) -> tuple[FrameRow, str]:
    timed = sorted((r for r in rows if r.mjd is not None), key=lambda r: float(r.mjd))
    asked = f"MJD {mjd:.5f} ({date_of(mjd)})"
    if not timed:
        raise LcfError(f"no frame has a time yet, so that none is near {asked}: `lcf status` lists the files")
    row = min(timed, key=lambda r: abs(r.mjd - mjd))
    if abs(row.mjd - mjd) > FURTHEST:
        before = [r for r in timed if r.mjd < mjd][-1:]
        after = [r for r in timed if r.mjd > mjd][:1]
        near = [f"{file_name(r.original_image_path)} {_apart(r.mjd - mjd)}" for r in (*before, *after)]
        untimed = len(rows) - len(timed)
        other = f"; {untimed} files have no time, because they could not be read: see `lcf status`" if untimed else ""
        raise LcfError(
            f"no frame was found within half a day of {asked}; the nearest: {', '.join(near)}{other}. Are the night's "
            "files in a folder of [frames] raw_dirs?"
        )
    return row, f"the nearest to {asked}, {_apart(row.mjd - mjd)}"


def _apart(days: float) -> str:
    """Return a distance in time in words."""
    size, when = abs(days), "later" if days > 0 else "earlier"
    if size * 86_400 < 60:
        return f"{size * 86_400:.1f} s {when}"
    if size * 1_440 < 120:
        return f"{size * 1_440:.1f} min {when}"
    return f"{size * 24:.1f} h {when}" if size < 2 else f"{size:.1f} d {when}"
