"""Pools of worker processes, which start quickly because they share imported modules.

On Linux a fork server is started first: a new Python process that imports the modules that every worker needs, and
forks the workers. It has only one thread, so forking it is safe. The driver has several threads and is never forked.
The server ends with the driver; later pools of the driver use it too. On other systems each worker is a new Python
process with its own imports.
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
    """Return a pool whose workers have one thread each, ignore Ctrl-C, and end with the driver.

    Parameters
    ----------
    workers : int
        The number of workers; all are started when the pool is returned.
    imported : sequence of str
        Modules that all workers need; ignored where an earlier pool has already started the server.
    """
    with _single_threaded(), _without_interruption():
        options: dict[str, Any] = {"initializer": _begin, "initargs": (dict(os.environ),)}
        pool = ProcessPoolExecutor(workers, mp_context=_context(imported), **options)
        for _ in range(workers):  # the pool starts a worker for each call that finds no idle worker
            pool.submit(os.getpid)
    return pool


def _context(imported: Sequence[str]) -> BaseContext:
    """Return the multiprocessing context for workers; on Linux the fork server is then running."""
    if sys.platform == "linux":
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(imported))
        with contextlib.suppress(OSError):  # its socket can't be made, e.g. because the path of TMPDIR is too long
            forkserver.ensure_running()
            return context
    return multiprocessing.get_context("spawn")


@contextlib.contextmanager
def _single_threaded() -> Iterator[None]:
    """Limit processes that are started inside to one thread for linear algebra."""
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
    """Block Ctrl-C in processes that are started inside while they import modules, and in this process until then."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(environment: dict[str, str]) -> None:
    """Prepare a worker: use the driver's environment, ignore Ctrl-C, and end when the driver ends."""
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: Any) -> None:
    wait([sentinel])
    os._exit(1)
