"""Pools of worker processes, which start quickly because they share what they import.

On Linux a server is started first: a new, bare Python, which imports what every worker needs and forks them. It never
has a second thread, so that forking it is safe; the driver, which has several, is never forked. It ends with the
driver, whose later pools use it too. Elsewhere each worker is a new Python with imports of its own.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from typing import Any

_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def pool_of(workers: int, imported: Sequence[str]) -> ProcessPoolExecutor:
    """Return a pool whose workers have one thread each, leave Ctrl-C to the driver, and end with it.

    Parameters
    ----------
    workers : int
        How many; they are there when the pool is returned.
    imported : sequence of str
        Modules that all workers need; where a pool before started the server, what that one asked for stands.
    """
    with _single_threaded(), _without_interruption():
        options: dict[str, Any] = {"initializer": _begin, "initargs": (dict(os.environ),)}
        pool = ProcessPoolExecutor(workers, mp_context=_context(imported), **options)
        for _ in range(workers):  # it starts a worker for each call that finds none idle
            pool.submit(os.getpid)
    return pool


def _context(imported: Sequence[str]) -> BaseContext:
    """Return how workers are started, with the server running where there is one."""
    if sys.platform == "linux":
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(imported))
        with contextlib.suppress(OSError):  # its socket can't be made, as where TMPDIR's name is long
            forkserver.ensure_running()
            return context
    return multiprocessing.get_context("spawn")


@contextlib.contextmanager
def _single_threaded() -> Iterator[None]:
    """Let processes that are started inside have one thread for linear algebra."""
    before = {name: os.environ.get(name) for name in _THREAD_LIMITS}
    os.environ.update(dict.fromkeys(_THREAD_LIMITS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _without_interruption() -> Iterator[None]:
    """Keep Ctrl-C from processes that are started inside while they import, and from this one until they are there."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(environment: dict[str, str]) -> None:
    """Take the driver's environment, leave Ctrl-C to it, and end with it, however it ends."""
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: Any) -> None:
    wait([sentinel])
    os._exit(1)
