"""Whether what is left of a bright star's halo, after its profile is taken off, matters to a region's sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lcframework.frames.halos import Halo
from lcframework.frames.stamping import psf_area
from lcframework.types import Doubt, Floats, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lcframework.storage.stamp_files import Stamp

#: What is left matters from this ratio to the noise on.
_MATTERS = 1.0


def halo_doubt(
    roi: str,
    sources: Sequence[str],
    positions: Floats,
    halos: Sequence[Halo],
    stamp: Stamp,
    pixel_scale: float,
    seeing: float,
) -> Doubt | None:
    """Return a doubt where a bright star's light is a worse error of a flux than the noise.

    What is not round of a halo has the size of a spike or a lobe, not of a pixel: it is taken for the same all over the
    pixels that a PSF flux averages, of the number ``4 pi sigma^2``, in which independent noise averages out.

    Parameters
    ----------
    roi, sources : str, sequence of str
        The region, and the names of its k point sources.
    positions : (k, 2) array
        Of these in the frame, pixels.
    halos : sequence of Halo
        Those that were taken off the stamp.
    stamp : Stamp
        The region's; its noise includes what is not round of the halos.
    pixel_scale : float
        arcsec.
    seeing : float
        FWHM of the frame's stars, pixels.
    """
    root, size = np.sqrt(psf_area(seeing)), len(stamp.data)
    found = []
    for name, (x, y) in zip(sources, np.asarray(positions, float), strict=True):
        column, row = round(x) - stamp.corner[0], round(y) - stamp.corner[1]
        if not (0 <= column < size and 0 <= row < size):
            continue
        for halo in halos:
            left = float(halo.unround * halo.at(x, y))
            noise = float(np.sqrt(max(stamp.noise[row, column] ** 2 - left**2, 1e-30)))
            found.append((left * root / noise, float(halo.distance(x, y)) * pixel_scale, name, halo))
    found = [each for each in found if each[0] > _MATTERS]
    if not found:
        return None
    ratio, away, name, halo = max(found, key=lambda each: each[0])
    return Doubt(
        "bright_neighbour",
        f"a star of {halo.flux:.3g} e-/s, {away:.1f} arcsec from {name} of {roi}, shines on it: its light is taken off "
        f"as far as it is round, and what is left ({halo.unround:.0%} of it) is {ratio:.2g} times the noise of a flux",
        "Trust fluxes of these frames less than their errors; frames of better seeing have less of it",
        severity=Severity.DOUBT, value=ratio, subject=roi,
    )  # fmt: skip
