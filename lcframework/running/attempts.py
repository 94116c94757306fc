"""The attempts at a stage's units in a run: which are not tried again, and which are."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from lcframework.running.run_report import StageReport
from lcframework.work import Ending, Unit, UnitResult

#: How often a unit is tried whose files can't be read.
_READINGS = 2


class Attempts:
    """What was tried in one pass of a stage; a unit is tried once, unless a file of it was away or damaged."""

    def __init__(self) -> None:
        self._tried: set[tuple[str, str]] = set()  # text of the unit key, and fingerprint
        self._unread: dict[str, int] = {}
        self._damaged: dict[str, str] = {}
        self._waiting: set[tuple[str, str]] = set()

    @property
    def count(self) -> int:
        """How many units were tried."""
        return len(self._tried)

    @property
    def tried_units(self) -> set[str]:
        """The texts of their unit keys."""
        return {unit for unit, _ in self._tried}

    def done_with(self, unit: Unit[Any]) -> bool:
        """Return whether a unit is not to be tried again."""
        return (str(unit.key), unit.fingerprint) in self._tried

    def add(self, results: Iterable[UnitResult]) -> None:
        """Add the results of a batch."""
        for result in results:
            name = str(result.unit.key)
            if result.ending is Ending.NOT_READ:
                self._unread[name] = self._unread.get(name, 0) + 1
                if self._unread[name] < _READINGS:
                    continue  # once more, when the others have been tried
            self._tried.add((name, result.unit.fingerprint))
            if result.ending is Ending.DAMAGED:
                self._damaged.update(result.damaged)
                self._waiting.add((name, result.unit.fingerprint))

    def close(self, units: Iterable[Unit[Any]]) -> None:
        """End a task: units that an executor gave no result of are not tried again either."""
        for unit in units:
            if not 0 < self._unread.get(str(unit.key), 0) < _READINGS:
                self._tried.add((str(unit.key), unit.fingerprint))

    def take_damaged(self) -> dict[str, str]:
        """Return the damaged files found since the last call, with what is wrong."""
        found, self._damaged = self._damaged, {}
        return found

    def again(self, units: Collection[str]) -> None:
        """Let units, which made damaged files, be tried again, and those that wait for them."""
        self._tried -= self._waiting | {one for one in self._tried if one[0] in units}
        self._waiting = set()


def unread_needs(report: StageReport, units: int, tried: int, stale: Collection[str]) -> list[str]:
    """Return what is missing where files could not be read, so that the run must not go on without them.

    Parameters
    ----------
    report : StageReport
        Of the stage.
    units : int
        How many units it has.
    tried : int
        How many of them were tried in this run.
    stale : collection of str
        The texts of the keys of units that could not be read, and whose products are out of date.
    """
    unread = report.not_read
    if not unread:
        return []
    first = f"{unread[0].unit}: {unread[0].reason}"
    if 2 * len(unread) >= units:
        return [
            f"{len(unread)} of {units} inputs of {report.name} could not be read ({first}). Their storage is away or "
            "fails. Nothing is left out for that: run again when it is back"
        ]
    changed = [u for u in unread if u.key in stale]
    if changed:
        return [
            f"{len(changed)} inputs of {report.name} are to be made anew and could not be read ({changed[0].unit}: "
            f"{changed[0].reason}). What there is of them is out of date: run again when they can be read, or take "
            "them out with `lcf exclude`"
        ]
    if tried >= units:
        return [
            f"{len(unread)} of {units} inputs of {report.name} could not be read ({first}). In a first run the scale "
            "of the fluxes and what frames decide would rest on what happened to be there: run again when they can be "
            "read, or take them out with `lcf exclude`"
        ]
    return []
