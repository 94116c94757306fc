"""Prepares tasks that run in the driver, in a thread, while workers are busy with earlier stages."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lcframework.work import Task

log = logging.getLogger(__name__)

#: Parts of SciPy that fits need and that are slow to import.
_LIBRARIES = ("scipy.ndimage", "scipy.optimize")


class WarmUp:
    """Warms up tasks in a thread; only the first call of `begin` has an effect."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def begin(self, tasks: Sequence[Task[Any, Any, Any]]) -> None:
        """Start to warm up the tasks that use the accelerator, where no warm-up has started before."""
        wanted = [task for task in tasks if task.accelerator]
        if wanted and self._thread is None:
            # Not a daemon thread: the process must not end while compiled code runs in it.
            self._thread = threading.Thread(target=_warm_up, args=(wanted,))
            self._thread.start()

    def wait(self) -> None:
        """Wait until the warm-up is finished."""
        if self._thread is not None:
            self._thread.join()


def _warm_up(tasks: Sequence[Task[Any, Any, Any]]) -> None:
    for library in _LIBRARIES:
        importlib.import_module(library)
    for task in tasks:
        try:
            task.warm_up()
        except Exception:  # if the problem matters, the task itself will fail and report it
            log.debug("%s can't be warmed up", task.stage, exc_info=True)
