"""The raw files on disk, with the rows and frame names that they have, or will get, in the database."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import sqlalchemy as sa
from sqlmodel import Session, col

from lcframework.config.project_file import Config
from lcframework.frames.exclusions import apply_list, exclude_copy, excluded, set_aside
from lcframework.frames.found_file import FoundFile
from lcframework.frames.raw_folders import find_files
from lcframework.provenance import ABSENT, digest, file_digest
from lcframework.storage.tables import Frame
from lcframework.types import LcfError

#: Frame names that are file names of other products in ``frames/``.
_RESERVED = re.compile(r"_sources$|^field_stars$|^hot_pixels_|^master_")
#: Products' names add their own ends to a key, and temporary ones more; most file systems allow 255 bytes.
_LONGEST_KEY = 100
_SUFFIXES = re.compile(r"\.(fits?|fts|fz|gz|bz2)$", re.IGNORECASE)
#: The columns that depend on the raw file and on exclusions by the user.
_COLUMNS = ("original_image_path", "raw_size", "raw_mtime_ns", "raw_digest", "eliminated", "comment")


class FrameList:
    """The raw files of a project and their rows of the table ``frames``; nothing is written before :meth:`record`.

    A new file has the id that the database will assign to it.

    Parameters
    ----------
    session : Session
        On the project's database.
    config : Config
        The project file.

    Attributes
    ----------
    frames : list of FoundFile
        Those whose file exists, in the order of paths.

    Raises
    ------
    LcfError
        Where a folder of ``[frames] raw_dirs`` is missing.
    NeedMissing
        Where one is away, with the files that were found in it before.
    """

    def __init__(self, session: Session, config: Config) -> None:
        self._session = session
        columns = [getattr(Frame, a.name) for a in attrs.fields(FoundFile)]
        found = (FoundFile(*row) for row in session.execute(sa.select(*columns).order_by(col(Frame.id))))
        known = {row.original_image_path: row for row in found}
        self._recorded = {row.id: _state(row) for row in known.values()}
        self._next_id = max(self._recorded, default=0)
        self.frames = self._rows(find_files(config, known), known, set(config.frames.exclude))

    def _rows(self, paths: Sequence[Path], known: dict[str, FoundFile], listed: set[str]) -> list[FoundFile]:
        keys = {row.key.casefold() for row in known.values()}
        digests = _digests(paths, known)
        found = set(map(str, paths))
        gone: dict[str, list[FoundFile]] = {}
        for name, row in known.items():
            if name not in found and row.raw_digest:
                gone.setdefault(row.raw_digest, []).append(row)
        rows = []
        for path in paths:
            row = known.get(str(path)) or self._new_row(path, keys, gone.get(digests.get(path, ABSENT), []))
            # A file that can't be read now keeps what is known of it; it is read again by the next run.
            if digests.get(path, ABSENT) != ABSENT:
                stat = path.stat()
                row.raw_size, row.raw_mtime_ns, row.raw_digest = stat.st_size, stat.st_mtime_ns, digests[path]
            apply_list(self._session, row, path.name in listed)
            rows.append(row)
        self._take_out_copies(rows)
        return rows

    def _take_out_copies(self, rows: Sequence[FoundFile]) -> None:
        """Take out what has the contents of a file that was recorded before it: one exposure makes one epoch."""
        first: dict[str, FoundFile] = {}
        for row in sorted(rows, key=lambda row: row.id):
            own = row if excluded(row) or not row.raw_digest else first.setdefault(row.raw_digest, row)
            exclude_copy(self._session, row, "" if own is row else own.original_image_path)

    def _new_row(self, path: Path, keys: set[str], moved: list[FoundFile]) -> FoundFile:
        """Return the row of a new path: that of a moved file with the same contents, or else a new one."""
        if moved:
            row = moved.pop(0)
            row.original_image_path = str(path)
            return row
        self._next_id += 1
        row = FoundFile(self._next_id, str(path), _new_key(path, keys))
        keys.add(row.key.casefold())
        return row

    def set_aside(self, frame: FoundFile, why: str) -> None:
        """Exclude a frame that is no frame of the sky; undo that where `why` is empty."""
        set_aside(self._session, frame, why)

    @property
    def changed(self) -> list[FoundFile]:
        """The rows that are new or differ from the database."""
        return [frame for frame in self.frames if self._recorded.get(frame.id) != _state(frame)]

    def record(self) -> None:
        """Write the rows that changed."""
        for frame in self.changed:
            if frame.id in self._recorded:
                values = dict(zip(_COLUMNS, _state(frame), strict=True))
                self._session.execute(sa.update(Frame).where(col(Frame.id) == frame.id).values(**values))
            else:
                self._session.add(Frame(**{**attrs.asdict(frame), "id": None}))
        self._session.flush()


def _state(frame: FoundFile) -> tuple[Any, ...]:
    return tuple(getattr(frame, name) for name in _COLUMNS)


def stamps_of(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Return path, size and time of each file."""
    found = []
    for path in map(str, paths):
        stat = os.stat(path)
        found.append((path, stat.st_size, stat.st_mtime_ns))
    return found


def idle_exclusions(config: Config) -> list[str]:
    """Return a remark on each name in ``[frames] exclude`` that no file has, with the most similar file name."""
    if not config.frames.exclude:
        return []
    try:
        names = {p.name for p in find_files(config)}
    except LcfError:
        return []  # a folder is missing: another check reports it
    out = []
    for name in sorted(set(config.frames.exclude) - names):
        near = difflib.get_close_matches(name, sorted(names), n=3, cutoff=0.6)
        hint = f"; the nearest: {', '.join(near)}" if near else ""
        out.append(f'[frames] exclude names "{name}", and no file is called so{hint}')
    return out


def _digests(paths: Sequence[Path], known: dict[str, FoundFile]) -> dict[Path, str]:
    """Return the digests of files that are new, or whose size or time changed; `ABSENT` where one can't be read."""
    changed = []
    for path in paths:
        frame = known.get(str(path))
        try:
            stat = path.stat()
        except OSError:
            continue  # it went away after it was listed
        if frame is None or (frame.raw_size, frame.raw_mtime_ns) != (stat.st_size, stat.st_mtime_ns):
            changed.append(path)
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(changed, pool.map(file_digest, changed), strict=True))


def _new_key(path: Path, taken: set[str]) -> str:
    """Return a name for a frame's products, which no other has even where case does not count, as in `taken`."""
    stem = path.name
    while _SUFFIXES.search(stem):
        stem = _SUFFIXES.sub("", stem)
    # HDF5 and file systems take a name of dots alone for a folder, and one that begins with a dot is hidden.
    stem = re.sub(r"[^\w.+-]", "_", stem).lstrip(".") or "frame"
    short = stem.encode()[:_LONGEST_KEY].decode(errors="ignore")
    # Two files with the same name in two folders: the name of the later frame gets a digest of its path.
    if short != stem or stem.casefold() in taken or _RESERVED.search(stem):
        return f"{short}-{digest(str(path), 8)}"
    return stem
