"""How a source's flux is measured in a disc."""

from __future__ import annotations

import math

import attrs


@attrs.frozen
class Discs:
    """Discs about sources, and the rings around them in which the sky is measured.

    Radii are multiples of the FWHM of the frame's PSF, so that discs grow with the seeing. Stars and regions must be
    measured by the same ones: a frame's coefficient holds for fluxes of one kind.
    """

    radius: float  # FWHM
    sky: tuple[float, float] = (0.0, 0.0)  # FWHM, inner and outer radius; 0: from the disc's edge on, to the stamp's
    recentred: bool = True  # False: discs lie where their sources are expected
    position_prior: float = 1.0  # pixels, standard deviation about the expected position
    clip: float = 5.0  # sigma, single pixels

    def area(self, fwhm: float) -> float:
        """Return the pixels in a disc where the FWHM is so many pixels."""
        return math.pi * (self.radius * fwhm) ** 2
