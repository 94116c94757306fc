"""A listener to the events of runs for lcframework."""

from __future__ import annotations

import logging

from lcframework.hookspecs import hookimpl
from lcframework.types import RunEvent

log = logging.getLogger("lcframework.plugin_name")  # what it says goes to the project's lcf.log


@hookimpl
def lcf_event(event: RunEvent) -> None:
    """Say when a run has ended; the run waits for it, so it must be quick."""
    # CHECK: what to do, on which of `RunEvent.KINDS`. Later versions may have others: leave those alone.
    if event.kind == "run_finished":
        log.warning("the run has ended%s", f": {event.message}" if event.message else "")
