"""Batches of frames that are fitted together; the plugin estimates their size from the free memory of the device."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TypeVar

from lcframework.config.toolbox import Tool
from lcframework.protocols import FitsInBatches
from lcframework.types import LcfError

log = logging.getLogger(__name__)

T = TypeVar("T")


def in_batches(units: Sequence[T], tool: Tool | None, stars: int, size: int, otherwise: int) -> list[list[T]]:
    """Group units of similar frames in batches of the size that a plugin requests.

    Parameters
    ----------
    units : sequence
        One unit for each frame.
    tool : Tool, optional
        The plugin that fits them; where it has the method `frames_at_once`, that gives the size and a text for the log.
    stars : int
        The largest number of stamps of a frame.
    size : int
        The length of a stamp's sides, pixels.
    otherwise : int
        The number of frames in a batch where the plugin has no such method.
    """
    together = otherwise
    if tool is not None and isinstance(tool.instance, FitsInBatches):
        together, words = _asked(tool, max(1, stars), size, otherwise)
        batches = -(-len(units) // together)
        log.info(
            "[%s] %d frames with up to %d stars in %d batches. %s", tool.section, len(units), stars, batches, words
        )
    return [list(units[i : i + together]) for i in range(0, len(units), together)]


def _asked(tool: Tool, stars: int, size: int, otherwise: int) -> tuple[int, str]:
    """Return the plugin's answer; one that fails costs no more than its forecast."""
    try:
        together, words = tool.ask("frames_at_once", stars, size)
        if int(together) < 1:
            raise ValueError(f"{together} frames at once")
    except (LcfError, TypeError, ValueError) as error:
        log.warning("[%s] batches of %d frames, because %s", tool.section, otherwise, error)
        return otherwise, "The plugin's forecast failed."
    return int(together), str(words)
