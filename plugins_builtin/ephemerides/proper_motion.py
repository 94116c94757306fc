"""The ephemeris ``proper_motion``: a star that moves along a great circle, with its parallax."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import not_negative, within
from lcframework.sky.geometry import julian_year
from lcframework.types import Floats, Moments

_MAS = np.pi / 180.0 / 3.6e6
_MJD_ZERO = 2400000.5


@attrs.frozen
class ProperMotion:
    """A star's proper motion and parallax, as catalogues give them, by the IAU's routines (ERFA).

    The region's `ra` and `dec` are the barycentric place at `ref_epoch`. Where the parallax is 0, so is its shift: the
    position is that seen from the solar system's barycentre.
    """

    results_version: ClassVar[int] = 1

    pmra: float = 0.0  # mas/yr, times cos(dec)
    pmdec: float = 0.0  # mas/yr
    ref_epoch: float = attrs.field(default=2016.0, validator=within(1800.0, 2200.0))  # Julian year
    parallax: float = attrs.field(default=0.0, validator=not_negative)  # mas

    def positions(self, ra: float, dec: float, moments: Moments) -> tuple[Floats, Floats]:
        """Return the place for each of the times, as seen from the Earth's centre."""
        import erfa

        mjd = np.asarray(moments.mjd, float)
        # UTC stands for TDB: in 70 s the fastest star moves by 0.02 mas, the Earth by 1e-5 of its distance.
        earth = erfa.epv00(_MJD_ZERO, mjd)[1]["p"]
        a, d = np.radians([ra, dec])
        rates = self.pmra * _MAS / np.cos(d), self.pmdec * _MAS  # ERFA's is the change of right ascension itself
        seen = erfa.pmpx(a, d, *rates, self.parallax / 1000.0, 0.0, julian_year(mjd) - self.ref_epoch, earth)
        alpha, delta = erfa.c2s(seen)
        return np.degrees(alpha) % 360.0, np.degrees(delta)


@hookimpl
def lcf_ephemerides() -> dict[str, type[Any]]:
    """Offer the ephemeris ``proper_motion``."""
    return {"proper_motion": ProperMotion}
