"""Work on many frames or epochs in threads, where one process uses the whole machine.

Compiled steps, NumPy's products and SciPy's transforms release Python's lock, so that other threads run. Results come
in the items' order, so sums are made in the same order, and the number of threads changes no result.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_AHEAD = 4  # results that each thread may compute in advance: memory does not grow with the number of items


def threads() -> int:
    """Return how many threads to use: `OMP_NUM_THREADS` where it is set, as it is in worker processes, or the cores."""
    stated = os.environ.get("OMP_NUM_THREADS", "")
    if stated.isdigit() and int(stated) > 0:
        return int(stated)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> Iterator[_Result]:
    """Yield the function's results in the items' order, computed in parallel threads."""
    count = min(threads(), len(items))
    if count < 2:
        yield from map(function, items)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(count) as pool:
        for start in range(0, len(items), _AHEAD * count):
            yield from pool.map(function, items[start : start + _AHEAD * count])
