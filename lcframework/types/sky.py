"""Regions of the sky, and limits on the stars of a catalogue."""

from __future__ import annotations

import attrs
import numpy as np


@attrs.frozen
class Region:
    """A part of the sky: a cone, or the polygon of `vertices` inside that cone."""

    ra: float  # degrees, ICRS
    dec: float  # degrees
    radius: float  # degrees
    vertices: tuple[tuple[float, float], ...] | None = None  # (ra, dec) degrees


@attrs.frozen
class CatalogLimits:
    """Limits on the stars of a catalogue; a catalogue that does not have a quantity ignores its limit."""

    magnitude: tuple[float, float] = (-np.inf, np.inf)  # main band
    max_astrometric_excess_noise: float = np.inf  # mas
    min_flux_over_error: float = 0.0
