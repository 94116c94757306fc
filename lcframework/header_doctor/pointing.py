"""Where a telescope pointed, or its target is, by a header."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lcframework.frames.header_cards import as_number, text_of
from lcframework.header_doctor.angles import declination, right_ascension

if TYPE_CHECKING:
    from astropy.io import fits

#: Pairs of keywords for the target's place, and for that to which the telescope pointed.
OF_TARGET = (("OBJCTRA", "OBJCTDEC"), ("TARGRA", "TARGDEC"), ("OBJRA", "OBJDEC"), ("RA_TARG", "DEC_TARG"),
             ("CAT-RA", "CAT-DEC"), ("OBJ-RA", "OBJ-DEC"))  # fmt: skip
OF_TELESCOPE = (("RA", "DEC"), ("TELRA", "TELDEC"), ("OBSRA", "OBSDEC"), ("RA-OBS", "DEC-OBS"))


def pointing(header: fits.Header) -> tuple[float, float] | None:
    """Return where a header says that the telescope pointed, or its target is; degrees, ICRS."""
    found = position_by(header, (*OF_TELESCOPE, *OF_TARGET))
    return found[:2] if found else None


def position_by(header: fits.Header, pairs: Sequence[tuple[str, str]]) -> tuple[float, float, str] | None:
    """Return the first pair of keywords that hold a position, degrees ICRS, and their names."""
    for x, y in pairs:
        comment = str(header.comments[x]) if x in header else ""
        ra, dec = right_ascension(text_of(header, x), comment), declination(text_of(header, y))
        if ra is not None and dec is not None and (ra, dec) != (0.0, 0.0):
            return (*_of_j2000(header, ra, dec), f"{x} and {y}")
    return None


def _of_j2000(header: fits.Header, ra: float, dec: float) -> tuple[float, float]:
    """Return a position of the header's equinox as ICRS."""
    year = next((y for k in ("EQUINOX", "OBJEPOCH") if (y := as_number(text_of(header, k).lstrip("J")))), None)
    if year is None or not 1900.0 < year < 2100.0 or abs(year - 2000.0) < 0.1:
        return ra, dec
    from astropy.coordinates import FK5, SkyCoord

    turned = SkyCoord(ra, dec, unit="deg", frame=FK5(equinox=f"J{year}")).icrs
    return float(turned.ra.deg), float(turned.dec.deg)
