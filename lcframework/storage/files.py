"""Files of products: atomic writing, what was written, and removal of the temporary files of killed runs."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

#: The folders of products in the workdir. The workdir may also contain folders of the user.
FOLDERS = ("frames", "regions", "prepared_roi_cutouts", "plots", "report")
_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")
_noted: ContextVar[list[Path] | None] = ContextVar("noted", default=None)


@contextlib.contextmanager
def noting_files() -> Iterator[list[Path]]:
    """Yield a list that receives the path of each file that :func:`atomic` writes inside."""
    files: list[Path] = []
    token = _noted.set(files)
    try:
        yield files
    finally:
        _noted.reset(token)


@contextlib.contextmanager
def atomic(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success its file is fsynced and renamed to `path`.

    A file that is not `durable` is not fsynced: it may be lost when the machine crashes, and can be made again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if durable:
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
        temporary.replace(path)
        if durable:
            _sync_folder(path.parent)
        if (noted := _noted.get()) is not None:
            noted.append(path)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def beside(path: str, name: str) -> str:
    """Return the path of a file in the folder of another one; paths in the database are separated by slashes."""
    return f"{path.rpartition('/')[0]}/{name}"


def remove_leftovers(workdir: Path) -> None:
    """Delete the temporary files of runs that were killed."""
    for path in temporaries(workdir):
        (workdir / path).unlink(missing_ok=True)


def temporaries(workdir: Path) -> list[str]:
    """Return the temporary files of :func:`atomic` in the folders of products, relative to the workdir."""
    found = []
    for folder in (workdir, *(workdir / name for name in FOLDERS)):
        for path in folder.rglob(".*.tmp") if folder != workdir else folder.glob(".*.tmp"):
            if _TEMPORARY.fullmatch(path.name):
                found.append(str(path.relative_to(workdir)))
    return found
