"""An ephemeris for lcframework."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import not_negative, positive
from lcframework.sky.geometry import from_plane
from lcframework.types import Floats, Moments


@attrs.frozen
class PluginClass:
    """A target on a circle about the region's place, such as a star of a wide binary seen from above."""

    results_version: ClassVar[int] = 1  # raise it when answers change

    radius: float = attrs.field(default=1.0, validator=not_negative)  # arcsec
    period: float = attrs.field(default=365.25, validator=positive)  # days
    start: float = 60000.0  # MJD at which it is north of the place; it goes to the east from there

    def positions(self, ra: float, dec: float, moments: Moments) -> tuple[Floats, Floats]:
        """Return the place at each of the times, degrees (ICRS), each from 0 to 360 and from -90 to 90.

        Where there is no place for a time, raise `lcframework.types.UnusableInput` and say why.
        """
        # CHECK: how does your target move? The times are UTC: in 69 s, which TDB is ahead, a fast one moves on.
        phase = 2 * np.pi * (np.asarray(moments.mjd) - self.start) / self.period
        return from_plane(self.radius * np.sin(phase), self.radius * np.cos(phase), ra, dec)


@hookimpl
def lcf_ephemerides() -> dict[str, type]:
    """Offer it as ``[roi.NAME] ephemeris = "plugin_name"``."""
    return {"plugin_name": PluginClass}
