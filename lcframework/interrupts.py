"""Ctrl-C that can't get lost.

Python raises KeyboardInterrupt wherever the program happens to be, and drops it where that is a destructor or a
callback from C code. So it is noted as well, and raised once more where work can stop.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def noted() -> Iterator[Callable[[], None]]:
    """Note interruptions, and give a function that raises KeyboardInterrupt if there was one.

    Outside the main thread, and where a program has a handler of its own, nothing is noted.
    """
    pressed = threading.Event()

    def check() -> None:
        if pressed.is_set():
            raise KeyboardInterrupt

    def note(number: int, frame: FrameType | None) -> None:
        pressed.set()
        signal.default_int_handler(number, frame)

    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield check
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
