"""Files of products: written whole or not at all, and what killed runs left behind."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

#: The folders of products in the workdir, which may hold folders of the user's besides.
FOLDERS = ("frames", "regions", "prepared_roi_cutouts", "plots", "report")
_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")


@contextlib.contextmanager
def atomic(path: Path, durable: bool = True) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success its file is fsynced and renamed to `path`.

    What is not `durable` is not fsynced: it can be made again should the machine, and not just the run, go down.
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
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(workdir: Path) -> None:
    """Delete the temporary files of runs that were killed."""
    for folder in (workdir, *(workdir / name for name in FOLDERS)):
        for path in folder.rglob(".*.tmp") if folder != workdir else folder.glob(".*.tmp"):
            if _TEMPORARY.fullmatch(path.name):
                path.unlink(missing_ok=True)
