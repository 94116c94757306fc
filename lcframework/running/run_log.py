"""The log of a project's runs, without passwords; it is silent where the disk is full, which the run tells."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from lcframework.types import redacted

LOG_FILE = "lcf.log"


class _Formatter(logging.Formatter):
    """Writes the log without passwords."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class _LogFile(logging.FileHandler):
    """A log that is silent where the disk is full."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Do nothing."""


@contextlib.contextmanager
def logged(workdir: Path) -> Iterator[None]:
    """Write what lcframework logs inside to the log in the workdir: with forecasts and what plugins print."""
    handler = _LogFile(workdir / LOG_FILE, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("lcframework")
    logger.addHandler(handler)
    level = logger.level
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        with contextlib.suppress(OSError):
            handler.close()
