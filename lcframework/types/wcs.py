"""Hints and results of plate solving."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from lcframework.types.doubts import Doubt
from lcframework.types.tables import SourceTable, StarTable

if TYPE_CHECKING:
    from astropy.io import fits


@attrs.frozen(eq=False)
class SolveHint:
    """What is known about the pointing of a frame before plate solving; an attribute is None where it is unknown."""

    ra: float | None = None  # degrees, ICRS
    dec: float | None = None  # degrees
    radius: float | None = None  # degrees
    scale: tuple[float, float] | None = None  # arcsec/pixel
    header: fits.Header | None = None  # the frame's own header, which may hold a WCS
    stars: StarTable | None = None  # catalogue stars of the field at the frame's epoch
    reference_sources: SourceTable | None = None  # sources of another frame, which is solved
    reference_wcs: fits.Header | None = None  # WCS of that frame


@attrs.frozen(eq=False)
class PlateSolution:
    """A WCS, and how well it matches the catalogue or reference.

    A solver that can't decide which of several WCSs is right gives the most probable, and the others as its
    `alternatives`: the comparison with the catalogue chooses. `doubts` are raised where this WCS is used,
    `doubts_unless_verified` where it is used and no comparison with the catalogue confirms it.
    """

    header: fits.Header  # a complete celestial WCS, with SIP or TPV where there is distortion
    matched: int = 0  # stars matched; 0: unknown
    rms: float = np.nan  # pixels; nan: unknown
    refined: bool = False
    alternatives: tuple[PlateSolution, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    doubts_unless_verified: tuple[Doubt, ...] = ()


@attrs.frozen
class NotSolved:
    """The answer of a plate solver that found no WCS, with the reason."""

    reason: str
