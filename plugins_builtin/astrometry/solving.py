"""What plate solvers share: options and their checks, an engine's input, and how its answer becomes a solution."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lcframework.options import whole_number
from lcframework.types import Floats, Ints, NotSolved, PlateSolution, SolveHint, SourceTable, StarTable
from plugins_builtin.astrometry.star_match import bright_sources, match_stars, refine
from plugins_builtin.astrometry.wcs_fit import InvalidWcs, celestial_keywords, open_wcs

if TYPE_CHECKING:
    from astropy.io import fits

#: Astrometry.net's patterns are quadrilaterals.
FEWEST_SOURCES = 4


#: Validator of the order of SIP polynomials.
order_of_sip = whole_number(0, 5, "0: no distortion")


class Refining:
    """A solver with the option `refine`: whether its WCS is fitted again to the stars of ``[stars]``'s catalogue."""

    __slots__ = ()
    refine: bool

    @property
    def needs_stars(self) -> bool:
        """Whether the catalogue's stars must be in the hint."""
        return self.refine


def brightest(sources: SourceTable, number: int) -> Ints | NotSolved:
    """Return the rows of the brightest sources; NotSolved where they are too few for an engine's patterns."""
    rows = bright_sources(sources, number)
    if len(rows) >= FEWEST_SOURCES:
        return rows
    return NotSolved(
        f"{len(rows)} sources are too few to solve with ({FEWEST_SOURCES} are needed); a lower threshold or min_area "
        "in [sources.sep] finds more"
    )


def search_cone(shape: tuple[int, int], hint: SolveHint) -> tuple[float, float, float] | None:
    """Return (ra, dec, radius) in degrees within which the frame's centre lies; None where the hint has no position.

    The hint's position is the target's, which may be in a corner of the frame: half a diagonal is added.
    """
    if hint.ra is None or hint.dec is None or hint.radius is None:
        return None
    half = 0.0 if hint.scale is None else 0.5 * math.hypot(*shape) * hint.scale[1] / 3600.0
    return float(hint.ra) % 360.0, float(hint.dec), float(hint.radius) + half


def icrs(header: fits.Header) -> fits.Header:
    """Return an engine's WCS, cleaned, in ICRS.

    Positions in index files are ICRS; a header with an equinox alone would be read as FK5.

    Raises
    ------
    InvalidWcs
        Where it is none.
    """
    clean = celestial_keywords(header)
    if not open_wcs(clean).has_celestial:
        raise InvalidWcs("it has no celestial axes")
    clean.pop("EQUINOX", None)
    clean["RADESYS"] = "ICRS"
    return clean


def star_list(ra: Floats, dec: Floats) -> StarTable:
    """Return stars of an index file as a table; their magnitude, which it lacks, is 0: all of them are to be used."""
    from astropy.table import Table

    return Table({"ra": np.asarray(ra, float), "dec": np.asarray(dec, float), "magnitude": np.zeros(len(ra))})


def with_matches(
    header: fits.Header, sources: SourceTable, stars: StarTable | None, shape: tuple[int, int]
) -> PlateSolution:
    """Return a solution with the number and rms of its matches, where it has more of them than chance brings."""
    if stars is None or len(stars) == 0 or len(sources) == 0:
        return PlateSolution(header)
    pairs = match_stars(open_wcs(header), sources, stars, shape)
    return PlateSolution(header, len(pairs.source), pairs.rms) if pairs.significant else PlateSolution(header)


def refitted(
    solution: PlateSolution,
    sources: SourceTable,
    shape: tuple[int, int],
    hint: SolveHint,
    to_catalogue: bool,
    index_stars: StarTable | None = None,
) -> PlateSolution:
    """Fit a solution again: to the catalogue's stars if asked for and given, else to those of the index files."""
    stars = hint.stars if to_catalogue and hint.stars is not None and len(hint.stars) > 0 else index_stars
    return solution if stars is None else refine(solution, sources, stars, shape)
