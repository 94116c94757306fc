"""Batches of a fit: sized by the device's free memory, and run on it.

A fit states what it takes as a :class:`MemoryNeed`, asks :func:`forecast` for the size of its batches, and, where it is
compiled for many units side by side, runs them by :func:`run_in_batches`. This module does not depend on any fit.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import numpy as np

from lcframework.types import NeedMissing

#: Batch sizes that code is compiled for on an accelerator, so that few programs serve all.
LANES = (4, 16, 64, 256)

#: Units handed over at once on a CPU, which fits one a core: more would only keep more data in memory.
HOST_UNITS = 16

# Share of the free memory that is used: others use the device too, and what a unit takes is estimated.
_SHARE = 0.5

_Answer = TypeVar("_Answer")


@attrs.frozen
class MemoryNeed:
    """The memory that a fit takes, in bytes."""

    fit: str  # its name, for messages: "PSF fit"
    unit: str  # what is fitted side by side, singular: "frame"
    on_accelerator: int  # for each unit of a batch
    on_host: int  # for each unit of a batch, where the CPU fits: the data of units that wait, and the fit's own copies
    fixed: int = 0  # once, however large the batch


@attrs.frozen
class Forecast:
    """The size of a fit's batches on a device."""

    device: str
    accelerator: bool
    free: int  # bytes
    need: MemoryNeed
    units: int  # in a batch

    @property
    def bytes_per_unit(self) -> int:
        """Return the bytes that a unit takes on this device."""
        return self.need.on_accelerator if self.accelerator else self.need.on_host

    def __str__(self) -> str:
        """Return the forecast as a line of the log."""
        fixed = f"{self.need.fixed / 2**20:.2f} MiB fixed, " if self.need.fixed else ""
        return (
            f"{self.device}: {self.free / 2**30:.1f} GiB free, {fixed}{self.bytes_per_unit / 2**20:.2f} MiB per "
            f"{self.need.unit}, {self.units} {self.need.unit}s in a batch"
        )


def forecast(need: MemoryNeed) -> Forecast:
    """Return how many units of a fit JAX's first device has memory for.

    Parameters
    ----------
    need : MemoryNeed
        What the fit takes.

    Returns
    -------
    Forecast
        On an accelerator a batch is one of `LANES`, at least the smallest of them: :func:`run_in_batches` makes it
        smaller still where the memory does not suffice. On a CPU it is 1 to `HOST_UNITS`.

    Raises
    ------
    NeedMissing
        If JAX finds no device of the wanted kind.
    """
    import jax

    try:
        device = jax.devices()[0]
    except RuntimeError as error:
        raise NeedMissing(
            f"the {need.fit} finds no device: {error}. Set [run] device to auto or cpu, or mend the driver "
            "(lcf doctor shows what JAX sees)"
        ) from error
    if device.platform == "cpu":
        free = _host_memory()
        units = int(max(1, min(HOST_UNITS, (_SHARE * free - need.fixed) // need.on_host)))
        return Forecast("CPU", False, free, need, units)
    stats = device.memory_stats() or {}
    free = int(stats.get("bytes_limit", 0)) - int(stats.get("bytes_in_use", 0))
    most = (_SHARE * free - need.fixed) / need.on_accelerator
    units = max((lanes for lanes in LANES if lanes <= most), default=LANES[0])
    return Forecast(device.device_kind, True, free, need, units)


def run_in_batches(values: list[tuple[Any, ...]], function: Callable[..., _Answer], most: int) -> list[_Answer]:
    """Run a compiled function over units, in batches that become smaller where the device's memory does not suffice.

    Parameters
    ----------
    values : list of tuples
        The function's arguments for each unit: arrays, or trees of them, of the same shapes for all units.
    function : callable
        Takes the arguments of a batch, each array with the batch as its first axis, and returns a tree of such arrays.
    most : int
        The size of a batch, as :func:`forecast` gives it. The last batch is filled up by repeating a unit.

    Returns
    -------
    list
        An answer for each unit, in NumPy.
    """
    import jax

    together = min((size for size in LANES if size >= len(values)), default=most)
    together = min(together, most)
    results: list[_Answer] = []
    while len(results) < len(values):
        batch = values[len(results) : len(results) + together]
        stacked = jax.tree.map(lambda *parts: np.stack(parts), *batch, *[batch[0]] * (together - len(batch)))
        try:
            answer = jax.device_get(function(*stacked))
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) or together == 1:
                raise
            together = max(1, together // 4)
            continue
        results += [jax.tree.map(lambda part, i=i: part[i], answer) for i in range(len(batch))]
    return results


def _host_memory() -> int:
    """Return the free memory in bytes, within the limit that ``LCF_MEMORY_LIMIT`` gives a worker process."""
    limit = os.environ.get("LCF_MEMORY_LIMIT", "")
    return min(_free_memory(), int(limit)) if limit.isdigit() else _free_memory()


def _free_memory() -> int:
    """Return the machine's free memory in bytes; half of all memory where that is not known, else 1 GiB."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError):
        return 2**30
