"""How many frames a fit takes at once: what the plugin forecasts from the device's free memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TypeVar

from lcframework.config.toolbox import Tool
from lcframework.protocols import FitsInBatches

log = logging.getLogger(__name__)

T = TypeVar("T")


def in_batches(units: Sequence[T], tool: Tool | None, stars: int, size: int, otherwise: int) -> list[list[T]]:
    """Group units of frames that are alike, as many together as a plugin wants.

    Parameters
    ----------
    units : sequence
        One a frame.
    tool : Tool, optional
        The plugin that fits them; one that has `frames_at_once` is asked, and its forecast is logged.
    stars : int
        The most stamps that a frame has.
    size : int
        Pixels on a stamp's side.
    otherwise : int
        How many frames are done together where the plugin says nothing.
    """
    together = otherwise
    if tool is not None and isinstance(tool.instance, FitsInBatches):
        together, words = tool.instance.frames_at_once(max(1, stars), size)
        batches = -(-len(units) // together)
        log.info(
            "[%s] %d frames with up to %d stars in %d batches. %s", tool.section, len(units), stars, batches, words
        )
    return [list(units[i : i + together]) for i in range(0, len(units), together)]
