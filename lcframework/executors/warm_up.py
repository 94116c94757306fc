"""Loads in a thread of the driver, while workers are busy, what stages that run in the driver need later."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Sequence

from lcframework.stages.base import Stage

log = logging.getLogger(__name__)

#: Parts of SciPy that fits need and that take long to import.
_LIBRARIES = ("scipy.ndimage", "scipy.optimize")


class WarmUp:
    """Warms up stages, once."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def begin(self, stages: Sequence[Stage]) -> None:
        """Begin with those that want an accelerator, if that has not begun."""
        wanted = [stage for stage in stages if stage.accelerator]
        if wanted and self._thread is None:
            # No daemon: compiled code may not be left in the midst of a process' end.
            self._thread = threading.Thread(target=_warm_up, args=(wanted,))
            self._thread.start()

    def wait(self) -> None:
        """Wait until it is done."""
        if self._thread is not None:
            self._thread.join()


def _warm_up(stages: Sequence[Stage]) -> None:
    for library in _LIBRARIES:
        importlib.import_module(library)
    for stage in stages:
        try:
            stage.warm_up()
        except Exception:  # where it matters, the stage itself fails, and says so
            log.debug("%s can't be warmed up", stage.name, exc_info=True)
