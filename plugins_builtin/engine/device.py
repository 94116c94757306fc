"""How many frames a device can fit at once: from its free memory and what the fit of a frame takes."""

from __future__ import annotations

import os
from pathlib import Path

import attrs

from plugins_builtin.engine.starlet import number_of_scales

#: Numbers of frames that code is compiled for on an accelerator, so that few programs serve all.
LANES = (4, 16, 64, 256)

#: Frames handed over at once on a CPU, which fits one a core: more would only keep more stamps in memory.
HOST_FRAMES = 16

# Share of the free memory that is used: others use the device too, and the estimate of a frame is rough.
_SHARE = 0.5


@attrs.frozen
class Forecast:
    """What a device can do."""

    device: str
    accelerator: bool
    free: int  # bytes
    frame: int  # bytes that the fit of a frame takes
    frames: int  # at once

    def __str__(self) -> str:
        """Say it."""
        return (
            f"{self.device}: {self.free / 2**30:.1f} GiB free, {self.frame / 2**20:.2f} MiB a frame, "
            f"{self.frames} frames in a batch"
        )


def forecast(stars: int, size: int, subsampling: int) -> Forecast:
    """Return how many frames of `stars` stamps of `size` x `size` pixels JAX's first device can fit at once.

    Raises
    ------
    RuntimeError
        If JAX finds no device of the wanted kind.
    """
    import jax

    device = jax.devices()[0]
    frame = bytes_a_frame(stars, size, subsampling)
    if device.platform == "cpu":
        free = _host_memory()
        # Stamps, noise, mask, residuals and their copies, in double precision on their way.
        host = 80 * stars * size**2 + 40 * (size * subsampling) ** 2
        return Forecast("CPU", False, free, frame, int(max(1, min(HOST_FRAMES, _SHARE * free // host))))
    stats = device.memory_stats() or {}
    free = int(stats.get("bytes_limit", 0)) - int(stats.get("bytes_in_use", 0))
    room = _SHARE * free / frame
    frames = max((lanes for lanes in LANES if lanes <= room), default=LANES[0])
    return Forecast(device.device_kind, True, free, frame, frames)


def bytes_a_frame(stars: int, size: int, subsampling: int) -> int:
    """Return the memory that the compiled fit of a frame takes, estimated to a factor of two."""
    m = size * subsampling
    optimiser = 24 * (m * m + 3 * stars + 10)  # eight pairs of steps and gradients, and what is current
    stamps = stars * (14 * size * m + 8 * size * size)  # target matrices and products with them; images
    penalty = 8 * number_of_scales(m) * m * m
    return 4 * (optimiser + stamps + penalty)


def _host_memory() -> int:
    """Return the bytes of memory that are free: half of all where the system does not say, and 1 GiB at worst."""
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
