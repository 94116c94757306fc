"""The folders of raw files: what lies in them, and whether one that had files before is away."""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Collection, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path

from lcframework.config.project_file import Config
from lcframework.config.structuring import resolve_path
from lcframework.types import LcfError, NeedMissing

_admitted: ContextVar[frozenset[Path] | None] = ContextVar("admitted", default=None)


@contextlib.contextmanager
def admitting(paths: Iterable[Path]) -> Iterator[None]:
    """Let only these files be found inside, of frames and of calibration frames: others are still being written."""
    token = _admitted.set(frozenset(paths))
    try:
        yield
    finally:
        _admitted.reset(token)


def admitted(path: Path) -> bool:
    """Return whether a file that is there may be found."""
    only = _admitted.get()
    return only is None or path in only


def find_files(config: Config, known: Collection[str] = ()) -> list[Path]:
    """Return the raw files, sorted.

    Parameters
    ----------
    config : Config
        The project file.
    known : collection of str
        The paths of the files that were found before.

    Raises
    ------
    LcfError
        Where a folder is missing.
    NeedMissing
        Where a folder is missing, empty or can't be read, and files were found in it before: a drive is not mounted.
    """
    found: set[Path] = set()
    for name in config.frames.raw_dirs:
        folder = resolve_path(name, config.directory).resolve()
        before = _matching(known, folder, config.frames.pattern)
        why = ""
        here: set[Path] = set()
        try:
            there = folder.is_dir()
            here = {p for p in folder.glob(config.frames.pattern) if p.is_file()} if there else set()
        except OSError as error:
            there, why = True, f"can't be read: {error.strerror}"
        if before and not here:
            why = why or ("holds none of them" if there else "is not there")
            raise NeedMissing(
                f'[frames] raw_dirs: {before} frames are known of "{name}", and {folder} {why}. Nothing is left out '
                "for that: mount the drive or put the folder back, and run again. Stages after the import do not need "
                "it (`lcf run --start plate_solving`); where it is gone for good, take it out of raw_dirs"
            )
        if why:
            raise NeedMissing(f'[frames] raw_dirs: "{name}" {why} ({folder})')
        if not there:
            unset = " (is the environment variable set?)" if "$" in str(folder) else ""
            raise LcfError(f'[frames] raw_dirs: "{name}" is not a folder; looked for {folder}{unset}')
        found |= here
    return sorted(filter(admitted, found))


def _matching(known: Collection[str], folder: Path, pattern: str) -> int:
    """Return how many known files lie in a folder and have names as the pattern asks for."""
    start, name = f"{folder}/", pattern.rpartition("/")[2]
    return sum(path.startswith(start) and fnmatch.fnmatch(path.rpartition("/")[2], name) for path in known)
