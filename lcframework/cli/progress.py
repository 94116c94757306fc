"""The progress of a run: bars with the remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from lcframework.types import RunEvent

#: Seconds between plain lines of one stage.
_INTERVAL = 10.0


class PlainProgress:
    """Prints lines, for files and pipes."""

    def __init__(self) -> None:
        self._started = self._last = 0.0

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        sys.stdout.flush()

    def __call__(self, event: RunEvent) -> None:
        """Print a line at the start and end of a stage, and every ten seconds in between."""
        now = time.monotonic()
        if event.kind == "stage_started":
            self._started = self._last = now
            print(f"{event.message}: {event.total} to do", flush=True)
        elif event.kind == "setting_decided":
            print(f"  decided: {event.message}", flush=True)
        elif event.kind == "unit_done" and now - self._last > _INTERVAL and event.done < event.total:
            self._last = now
            print(f"  {event.done} of {event.total}", flush=True)
        elif event.kind == "stage_finished":
            print(f"  done in {now - self._started:.1f} s", flush=True)


class BarProgress:
    """Shows progress bars on a terminal."""

    def __init__(self) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bars = Progress(
            TextColumn("{task.description:<20}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(), TextColumn("[dim]{task.fields[unit]}"),
        )  # fmt: skip
        self._task: Any = None

    def __enter__(self) -> BarProgress:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()

    def __call__(self, event: RunEvent) -> None:
        """Move the bar of the running stage."""
        if event.kind == "stage_started":
            self._task = self._bars.add_task(event.message, total=event.total, unit="")
        elif event.kind == "setting_decided":
            self._bars.console.print(f"decided: {event.message}", highlight=False, markup=False)
        elif event.kind == "unit_done":
            self._bars.update(self._task, completed=event.done, total=event.total, unit=f"{event.unit} {event.message}")
        elif event.kind == "stage_finished":
            self._bars.update(self._task, completed=event.done, total=event.total, unit="")


class Silent:
    """Prints nothing, for ``--json``."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: Any) -> None:
        return None

    def __call__(self, event: RunEvent) -> None:
        """Ignore the event."""


def progress(quiet: bool = False) -> PlainProgress | BarProgress | Silent:
    """Return bars where the output is a terminal, lines otherwise; nothing is printed where `quiet`."""
    if quiet:
        return Silent()
    return BarProgress() if sys.stdout.isatty() else PlainProgress()
