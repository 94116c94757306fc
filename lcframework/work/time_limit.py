"""A limit of time for work on users' files: what hangs its reader is unusable, and the rest goes on.

Two guards. A signal raises an exception in the main thread of the process, also in the driver. In a worker process
Python's own watchdog ends the process where even that does not help, in a reader that never returns to Python; it
leaves a note in the workdir, by which the next worker that gets the unit knows, and the executor that it may go on.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lcframework.types import UnusableInput

FOLDER = ".running"
OPTION = "[run] seconds_per_file"
#: Seconds that the first guard has before the second ends the process; as many as the limit where that is less.
GRACE = 10.0
_OVERRUN = "Timeout ("
_PLACE = re.compile(r'File "([^"]+)", line (\d+) in (\S+)')


class TookTooLong(UnusableInput):
    """The work on a file did not end within the limit."""


def _too_long(seconds: float, place: str) -> TookTooLong:
    where = f" in {place}" if place else ""
    return TookTooLong(
        f"it took longer than {seconds:g} s ({OPTION}){where}: the file, or what reads it, hangs. Look at the file, or "
        "raise the limit"
    )


@contextlib.contextmanager
def within(seconds: float, workdir: Path, unit: str) -> Iterator[None]:
    """Limit what is done inside to some seconds.

    Parameters
    ----------
    seconds : float
        The limit; 0 for none.
    workdir : Path
        Where workers leave notes.
    unit : str
        A name for the unit that suits a file name.

    Raises
    ------
    TookTooLong
        Where the limit is reached, or was reached in a process that was ended for it.
    """
    if seconds <= 0:
        yield
        return
    with _ended_if_stuck(seconds, workdir / FOLDER / unit), _interrupted(seconds):
        yield


@contextlib.contextmanager
def _interrupted(seconds: float) -> Iterator[None]:
    """Raise in the main thread, again and again: a library may catch the first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def too_long(number: int, frame: Any) -> None:
        raise _too_long(seconds, f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}" if frame else "")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _ended_if_stuck(seconds: float, note: Path) -> Iterator[None]:
    """End this process, where it is a worker, some time after the limit."""
    if multiprocessing.parent_process() is None:
        yield
        return
    if place := _overrun(note):
        note.unlink(missing_ok=True)
        raise _too_long(seconds, place)
    note.parent.mkdir(parents=True, exist_ok=True)
    with note.open("w", encoding="utf-8") as stream:
        # Half a second after an interruption, so that the place is that of the work and not of the interruption.
        faulthandler.dump_traceback_later(seconds + max(1, round(min(GRACE, seconds))) + 0.5, exit=True, file=stream)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            note.unlink(missing_ok=True)


def _overrun(note: Path) -> str:
    """Return where a process was that was ended for its time; empty where none was."""
    try:
        text = note.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    if not text.startswith(_OVERRUN):
        return ""
    found = _PLACE.search(text.rpartition("Thread 0x")[2])  # the main thread is the last one
    return f"{Path(found[1]).name}, line {found[2]}" if found else "a library"


def ended_for_time(workdir: Path) -> bool:
    """Return whether a worker was ended because a unit took too long, and nobody reported that yet."""
    with contextlib.suppress(OSError):
        return any(_overrun(note) for note in (workdir / FOLDER).iterdir())
    return False


def forget_notes(workdir: Path) -> None:
    """Remove the notes of earlier runs."""
    shutil.rmtree(workdir / FOLDER, ignore_errors=True)
