"""A lock that allows only one run at a time in a workdir."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from lcframework.types import LcfError

LOCK_FILE = ".lock"


class WorkdirLocked(LcfError):
    """Another process has the lock of a workdir."""


@contextlib.contextmanager
def hold(workdir: Path) -> Iterator[None]:
    """Lock a workdir, so that no other run writes in it; the workdir is created where it is missing.

    Raises
    ------
    WorkdirLocked
        Where another process has the lock.
    LcfError
        Where the workdir can't be written.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        stream = (workdir / LOCK_FILE).open("a+", encoding="utf-8")
    except OSError as error:
        raise LcfError(
            f"the workdir {workdir} can't be written: {error.strerror}. Set [project] workdir to a folder of yours."
        ) from None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            raise WorkdirLocked(
                f"another run holds {workdir}: {stream.read().strip() or 'unknown'}. Wait for its end."
            ) from None
        with contextlib.suppress(OSError):  # the disk is full: who holds the lock is for messages alone
            os.truncate(stream.fileno(), 0)
            os.write(stream.fileno(), f"process {os.getpid()}, since {dt.datetime.now():%Y-%m-%d %H:%M:%S}".encode())
        yield
