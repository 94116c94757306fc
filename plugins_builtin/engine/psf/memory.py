"""The memory that the PSF fit takes, a frame."""

from __future__ import annotations

from plugins_builtin.engine.device import MemoryNeed
from plugins_builtin.engine.starlet import number_of_scales


def memory_of_fit(stars: int, size: int, subsampling: int) -> MemoryNeed:
    """Return what the fit of frames takes, on an accelerator to a factor of two of what the compiler states.

    Parameters
    ----------
    stars : int
        Stamps of a frame.
    size : int
        Pixels on a stamp's side.
    subsampling : int
        Small pixels of the PSF across a pixel of the data.
    """
    m = size * subsampling
    optimiser = 24 * (m * m + 3 * stars + 10)  # eight pairs of steps and gradients, and what is current
    stamps = stars * (14 * size * m + 8 * size * size)  # target matrices and products with them; images
    penalty = 8 * number_of_scales(m) * m * m
    # On a CPU: stamps, noise, mask, residuals and their copies, in double precision on their way.
    on_host = 80 * stars * size**2 + 40 * m**2
    return MemoryNeed("PSF fit", "frame", on_accelerator=4 * (optimiser + stamps + penalty), on_host=on_host)
