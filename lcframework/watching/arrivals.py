"""Which of the files that arrive are whole: a file is taken once it has stopped to change and lacks nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import attrs

from lcframework.types.fits_sizes import what_lacks

#: Size in bytes, and time of the last change in ns.
Stamp: TypeAlias = tuple[int, int]

#: Names of files that programs are still writing: rsync, browsers, editors and file managers.
_TEMPORARY = re.compile(r"^\.|(\.(part|partial|filepart|tmp|temp|crdownload|download|swp|swx)|~)$", re.IGNORECASE)


def is_temporary(path: Path) -> bool:
    """Return whether a file's name says that a program is still writing it, or hides it."""
    return _TEMPORARY.search(path.name) is not None


@attrs.frozen
class Look:
    """What one look at the folders has found.

    Attributes
    ----------
    ready : tuple of Path
        New or changed files to be taken.
    waiting : dict of Path to str
        New or changed files that are not to be taken yet, with what they wait for.
    settled : tuple of Path
        Files that are as the project knows them.
    broken : dict of Path to str
        Of those that are ready, the ones that are not whole and do not grow any more, with what they lack.
    """

    ready: tuple[Path, ...] = ()
    waiting: Mapping[Path, str] = attrs.field(factory=dict)
    settled: tuple[Path, ...] = ()
    broken: Mapping[Path, str] = attrs.field(factory=dict)


@attrs.define
class _Seen:
    """A file as it was last seen."""

    stamp: Stamp
    since: float  # when it was first seen so
    lacks: str | None = None  # None: nobody has looked inside


@attrs.define
class Arrivals:
    """Follows the files that are new or have changed.

    Times are those of this process, because the clocks of network drives differ. Only what a file looks like is
    compared from one look to the next, so it does not matter who writes it, and by which way.

    Attributes
    ----------
    settle : float
        Seconds for which size and time must stay the same.
    patience : float
        Seconds after which a file that lacks something, and does not change, is taken as it is: it is broken.
    clock : callable
        Returns seconds.
    """

    settle: float
    patience: float
    clock: Callable[[], float] = time.monotonic
    _seen: dict[Path, _Seen] = attrs.field(factory=dict, init=False)
    _taken: dict[Path, Stamp] = attrs.field(factory=dict, init=False)

    def look(self, files: Mapping[Path, Stamp], known: Mapping[Path, Stamp]) -> Look:
        """Return which files are whole.

        Parameters
        ----------
        files : mapping
            All files there are, with their stamps of now.
        known : mapping
            The files as the project has read them.
        """
        now = self.clock()
        ready: list[Path] = []
        settled: list[Path] = []
        waiting: dict[Path, str] = {}
        broken: dict[Path, str] = {}
        for path, stamp in files.items():
            if known.get(path) == stamp or self._taken.get(path) == stamp:
                settled.append(path)
                self._seen.pop(path, None)
                continue
            if is_temporary(path) and path not in known:
                waiting[path] = "its name is a temporary one"
                continue
            why = self._waits_for(path, stamp, now)
            if why:
                waiting[path] = why
                continue
            ready.append(path)
            if lacks := self._seen[path].lacks:
                broken[path] = lacks
        for gone in self._seen.keys() - files.keys():
            del self._seen[gone]
        return Look(tuple(ready), waiting, tuple(settled), broken)

    def _waits_for(self, path: Path, stamp: Stamp, now: float) -> str:
        """Return what a new file waits for; empty where it is to be taken."""
        seen = self._seen.get(path)
        if seen is None or seen.stamp != stamp:
            seen = self._seen[path] = _Seen(stamp, now)
        age = now - seen.since
        if age < self.settle:
            return "it is new, or still changes"
        if seen.lacks is None:
            try:
                seen.lacks = what_lacks(path)
            except OSError as error:  # asked again at the next look; after all patience the run says so
                return f"it can't be read: {error.strerror or error}" if age < self.patience else ""
        return seen.lacks if age < self.patience else ""

    def take(self, paths: Iterable[Path], files: Mapping[Path, Stamp]) -> None:
        """Note that files were given to a run as they are: they are not given again before they change."""
        for path in paths:
            self._taken[path] = files[path]
            self._seen.pop(path, None)
