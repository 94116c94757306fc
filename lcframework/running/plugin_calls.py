"""Who answered which call of a run, and how long it took."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from lcframework.plugins import Call, log_printed


@attrs.define
class CallSum:
    """The calls of one method of one plugin in one stage.

    Attributes
    ----------
    stage, plugin, method : str
        Who was asked for what.
    calls, answered, failed : int
        How often it was called; how often it gave an answer other than that it has none; how often it failed.
    seconds, longest : float
        All calls together, and the longest one.
    slowest : str
        The frame or other unit of the longest call.
    """

    stage: str
    plugin: str
    method: str
    calls: int = 0
    answered: int = 0
    failed: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    slowest: str = ""


@attrs.define
class CallTable:
    """The sums of a run's calls, in the order of the first call of each."""

    sums: dict[tuple[str, str, str], CallSum] = attrs.field(factory=dict)

    def add(self, stage: str, calls: Iterable[Call]) -> None:
        """Count calls, and write what plugins printed to the log."""
        for call in calls:
            if call.printed:
                log_printed(call)
            if not call.method:
                continue  # it only printed
            key = (stage, str(call.source), call.method)
            found = self.sums.setdefault(key, CallSum(*key))
            found.calls += 1
            found.failed += bool(call.error)
            found.answered += call.answered
            found.seconds += call.seconds
            if call.seconds >= found.longest:
                found.longest, found.slowest = call.seconds, call.unit

    @property
    def rows(self) -> list[CallSum]:
        """The sums."""
        return list(self.sums.values())
