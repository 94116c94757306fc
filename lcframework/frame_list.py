"""Which raw files there are: found on disk, and given their rows and keys in the database."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlmodel import Session, select

from lcframework.config import Config
from lcframework.database import Frame
from lcframework.provenance import digest, file_digest
from lcframework.structuring import place
from lcframework.types import LcfError

EXCLUDED_IN_FILE = "excluded by [frames] exclude"
EXCLUDED_BY_COMMAND = "excluded: "
_SUFFIXES = re.compile(r"\.(fits?|fts|fz|gz|bz2)$", re.IGNORECASE)


def find_files(config: Config) -> list[Path]:
    """Return the raw files, sorted.

    Raises
    ------
    LcfError
        Where a folder is missing.
    """
    found: set[Path] = set()
    for name in config.frames.raw_dirs:
        folder = place(name, config.directory).resolve()
        if not folder.is_dir():
            raise LcfError(f'[frames] raw_dirs: "{name}" is not a folder (looked for {folder})')
        found.update(p for p in folder.glob(config.frames.pattern) if p.is_file())
    return sorted(found)


def update_frames(session: Session, config: Config) -> list[Frame]:
    """Give every raw file its row; refresh digests of files that changed; return rows whose file is there."""
    known = {f.original_image_path: f for f in session.exec(select(Frame))}
    keys = {f.key for f in known.values()}
    paths = find_files(config)
    frames, changed = [], []
    for path in paths:
        stat = path.stat()
        frame = known.get(str(path))
        if frame is None:
            frame = Frame(original_image_path=str(path), key=_new_key(path, keys))
            keys.add(frame.key)
            session.add(frame)
        if (frame.raw_size, frame.raw_mtime_ns) != (stat.st_size, stat.st_mtime_ns):
            frame.raw_size, frame.raw_mtime_ns = stat.st_size, stat.st_mtime_ns
            changed.append((frame, path))
        _apply_exclusion(frame, path.name in config.frames.exclude)
        frames.append(frame)
    with ThreadPoolExecutor(4) as pool:
        for (frame, _), value in zip(changed, pool.map(file_digest, [p for _, p in changed]), strict=True):
            frame.raw_digest = value
    session.flush()
    return frames


def _new_key(path: Path, taken: set[str]) -> str:
    stem = path.name
    while _SUFFIXES.search(stem):
        stem = _SUFFIXES.sub("", stem)
    stem = re.sub(r"[^\w.+-]", "_", stem) or "frame"
    # Two files of one name in two folders: the later one's key tells them apart by its path.
    return stem if stem not in taken else f"{stem}-{digest(str(path), 8)}"


def _apply_exclusion(frame: Frame, listed: bool) -> None:
    if listed:
        frame.eliminated, frame.comment = True, EXCLUDED_IN_FILE
    elif frame.comment == EXCLUDED_IN_FILE:
        frame.eliminated, frame.comment = False, ""


def excluded(frame: Frame) -> bool:
    """Whether the user took the frame out."""
    return frame.eliminated and (frame.comment == EXCLUDED_IN_FILE or frame.comment.startswith(EXCLUDED_BY_COMMAND))
