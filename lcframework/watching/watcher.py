"""Looks at the folders in turn, gives what is whole to the project, and knows when to wait and when to stop."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import attrs

from lcframework.project import Project
from lcframework.storage.lock import WorkdirLocked
from lcframework.types import LcfError
from lcframework.watching.arrivals import Arrivals, Look, Stamp, is_temporary
from lcframework.watching.batches import After, Batch, Memory, run_batch
from lcframework.watching.inventory import files_there, known_files

#: The longest wait before something that failed is tried again, s.
LONGEST_WAIT = 600.0

#: Why a watch ended.
Ending = Literal["signal", "until", "idle"]


@attrs.frozen
class Plan:
    """When to look, when to begin, and when to stop.

    Attributes
    ----------
    interval : float
        Seconds from one look at the folders to the next.
    settle, patience : float
        As of :class:`~lcframework.watching.arrivals.Arrivals`.
    first : int
        A project without imported frames begins when so many are whole.
    until : datetime, optional
        With a time zone; None: no end.
    idle : float
        Stop after so many seconds in which no file came or grew; 0: never.
    """

    interval: float = 5.0
    settle: float = 5.0
    patience: float = 120.0
    first: int = 1
    until: dt.datetime | None = None
    idle: float = 0.0


@attrs.frozen
class Waiting:
    """What the watch waits for, told once; `files`: new ones that are not taken yet, with the reason."""

    why: str
    files: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Trouble:
    """Something failed, and is tried again after `seconds`."""

    why: str
    seconds: float


@attrs.frozen
class Stopped:
    """The end of a watch.

    Attributes
    ----------
    ending : str
        Why it ended.
    batches, taken : int
        How many batches came to their end, and how many files they took.
    unfinished : bool
        Whether the last batch was left before its end, or the last try failed.
    waiting : dict of str to str
        Files that were not taken, with the reason.
    """

    ending: Ending
    batches: int
    taken: int
    unfinished: bool
    waiting: Mapping[str, str]


News = Batch | Waiting | Trouble


@attrs.define
class Watcher:
    """A watch over one project.

    The project file is read anew for each batch, and when it changes. The workdir is locked while a batch runs, and not
    in between: other commands may then be used.

    Attributes
    ----------
    path : Path
        The project file.
    plan : Plan
        When to look, to begin and to stop.
    after : After
        What is written after each batch.
    tell : callable
        Called with what happens.
    pause : callable
        Waits for so many seconds, or less where a stop is asked for.
    stop : callable
        Returns whether a stop is asked for.
    """

    path: Path
    plan: Plan
    after: After
    tell: Callable[[News], object]
    pause: Callable[[float], object]
    stop: Callable[[], bool]
    _arrivals: Arrivals = attrs.field(init=False)
    _memory: Memory = attrs.field(factory=Memory, init=False)
    _project: Project | None = attrs.field(default=None, init=False)
    _file: Stamp = attrs.field(default=(0, 0), init=False)  # of the project file, as it was read
    _look: Look = attrs.field(factory=Look, init=False)
    _new: dict[Path, Stamp] = attrs.field(factory=dict, init=False)  # files at the last look that are not taken
    _active: float = attrs.field(factory=time.monotonic, init=False)  # when one of them came or grew last
    _due: float | None = attrs.field(default=0.0, init=False)  # when to run though no file comes
    _held: float = attrs.field(default=0.0, init=False)  # nothing is tried before
    _failures: int = attrs.field(default=0, init=False)  # in succession
    _first: int = attrs.field(init=False)
    _told: Waiting | None = attrs.field(default=None, init=False)
    _batches: int = attrs.field(default=0, init=False)
    _taken: int = attrs.field(default=0, init=False)
    _unfinished: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._arrivals = Arrivals(self.plan.settle, self.plan.patience)
        self._first = max(1, self.plan.first)

    def watch(self) -> Stopped:
        """Watch until a stop is asked for, the time is up, or no more files come."""
        while (ending := self._ending()) is None:
            self._try()
            if self._ending() is None:
                self.pause(self.plan.interval)
        if ending != "signal" and not self._batches:
            self._first = 1  # fewer came than it was to begin with
            self._try()
        waiting = {path.name: why for path, why in self._look.waiting.items()}
        return Stopped(ending, self._batches, self._taken, self._unfinished, waiting)

    def _ending(self) -> Ending | None:
        if self.stop():
            return "signal"
        if self.plan.until is not None and dt.datetime.now(dt.UTC) >= self.plan.until:
            return "until"
        if self.plan.idle and time.monotonic() - self._active >= self.plan.idle:
            return "idle"
        return None

    def _try(self) -> None:
        """Look, and run what there is; where that fails, wait longer each time."""
        if time.monotonic() < self._held:
            return
        try:
            self._turn()
        except WorkdirLocked as error:
            self._active = time.monotonic()
            self._wait(Waiting(str(error)))
        except (LcfError, OSError) as error:
            self._fail(str(error))

    def _turn(self) -> None:
        project = self._opened()
        known = known_files(project)
        frames, calibrations = files_there(project, known)
        files = {**calibrations, **frames}
        read = known.stamps
        look = self._look = self._arrivals.look(files, read)
        new = {p: files[p] for p in (*look.ready, *look.waiting) if p in read or not is_temporary(p)}
        if new != self._new:
            self._new, self._active = new, time.monotonic()
        whole = sum(path in frames for path in (*look.settled, *look.ready))
        waiting = {path.name: why for path, why in look.waiting.items()}
        if not (self._batches or known.imported) and whole < self._first:
            told = f"waits for the first {self._first} frames, {whole} are whole" if whole else "waits for frames"
            self._wait(Waiting(told, waiting))
        elif look.ready or (self._due is not None and time.monotonic() >= self._due):
            project = self._opened(anew=True)
            self._finish(
                run_batch(project, look.ready, {*look.settled, *look.ready}, self.after, self._memory, self.stop),
                look, files,
            )  # fmt: skip
        elif waiting:
            self._wait(Waiting("waits for files to become whole", waiting))

    def _opened(self, anew: bool = False) -> Project:
        """Return the project, by its file as it is now; a change of the file is a reason to run."""
        stat = self.path.stat()
        stamp = (stat.st_size, stat.st_mtime_ns)
        if self._project is None or anew or stamp != self._file:
            if self._project is not None and stamp != self._file:
                self._due = 0.0
            self._project = Project.open(self.path)
            self._file = stamp
        return self._project

    def _finish(self, batch: Batch, look: Look, files: Mapping[Path, Stamp]) -> None:
        """Take in what a batch has done, and tell it."""
        self._told, self._unfinished = None, batch.stopped or batch.failed
        self._active = time.monotonic()
        if batch.stopped:
            return
        self.tell(batch)
        if batch.failed:
            self._fail("the run came to no end")
            return
        self._batches += 1
        self._taken += len(look.ready)
        self._arrivals.take(look.ready, files)
        self._failures = self._failures + 1 if batch.again else 0
        self._due = time.monotonic() + self._back_off() if batch.again else None

    def _fail(self, why: str) -> None:
        self._unfinished = True
        self._failures += 1
        seconds = self._back_off()
        self._held, self._due = time.monotonic() + seconds, 0.0
        self.tell(Trouble(why, seconds))

    def _back_off(self) -> float:
        """Return after how long to try again: twice as long as the time before."""
        return float(min(LONGEST_WAIT, self.plan.interval * 2.0 ** min(self._failures, 20)))

    def _wait(self, told: Waiting) -> None:
        """Tell what is waited for, where that is something else than before."""
        before = self._told
        if before is None or (before.why, before.files.keys()) != (told.why, told.files.keys()):
            self._told = told
            self.tell(told)
