"""No garbage collection while units are listed."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Let Python look for no cyclic garbage inside.

    A plan holds a few objects for each frame and stage, none of them in a cycle. Python's collector would look at all
    of them again and again as they become more: with ten thousand frames that takes as long as the plan itself.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
