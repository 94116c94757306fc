"""Loads in a thread of the driver, while workers are busy, what tasks that run in the driver need later."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lcframework.work import Task

log = logging.getLogger(__name__)

#: Parts of SciPy that fits need and that take long to import.
_LIBRARIES = ("scipy.ndimage", "scipy.optimize")


class WarmUp:
    """Warms up tasks, once."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def begin(self, tasks: Sequence[Task[Any, Any, Any]]) -> None:
        """Begin with those that want an accelerator, if that has not begun."""
        wanted = [task for task in tasks if task.accelerator]
        if wanted and self._thread is None:
            # No daemon: compiled code may not be left in the midst of a process' end.
            self._thread = threading.Thread(target=_warm_up, args=(wanted,))
            self._thread.start()

    def wait(self) -> None:
        """Wait until it is done."""
        if self._thread is not None:
            self._thread.join()


def _warm_up(tasks: Sequence[Task[Any, Any, Any]]) -> None:
    for library in _LIBRARIES:
        importlib.import_module(library)
    for task in tasks:
        try:
            task.warm_up()
        except Exception:  # where it matters, the task itself fails, and says so
            log.debug("%s can't be warmed up", task.stage, exc_info=True)
