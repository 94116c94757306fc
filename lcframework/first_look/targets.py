"""The target: by its name, by coordinates, or by what headers say."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from lcframework.first_look.angles import declination, right_ascension
from lcframework.frames.header_cards import as_number, text_of
from lcframework.types import LcfError

if TYPE_CHECKING:
    from astropy.io import fits

#: Pairs of keywords for the target's place; those after the bar say where the telescope pointed.
_OF_TARGET = (("OBJCTRA", "OBJCTDEC"), ("TARGRA", "TARGDEC"), ("OBJRA", "OBJDEC"), ("RA_TARG", "DEC_TARG"),
              ("CAT-RA", "CAT-DEC"), ("OBJ-RA", "OBJ-DEC"))  # fmt: skip
_POINTING = (("RA", "DEC"), ("TELRA", "TELDEC"), ("OBSRA", "OBSDEC"), ("RA-OBS", "DEC-OBS"))
_NAMES = ("OBJECT", "OBJNAME", "TARGET", "TARGNAME", "OBJ_NAME")
#: The name service and the seconds to wait for it.
SESAME = "cds.unistra.fr"
_PATIENCE = 4.0


@attrs.frozen
class Target:
    """What is observed.

    Attributes
    ----------
    name : str
        As it can be a region's name.
    ra, dec : float
        Degrees, ICRS.
    note : str
        What to look at; empty where it was given.
    """

    name: str
    ra: float
    dec: float
    note: str = ""


def reachable(host: str) -> bool:
    """Whether a service answers at all."""
    try:
        with socket.create_connection((host, 443), timeout=_PATIENCE):
            return True
    except OSError:
        return False


def by_name(name: str) -> tuple[float, float]:
    """Return the position of a named object by the name service Sesame, degrees.

    Raises
    ------
    LcfError
        Where it does not know the name, or does not answer.
    """
    from astropy.coordinates import SkyCoord, name_resolve

    try:
        found = SkyCoord.from_name(name)
    except name_resolve.NameResolveError as error:
        raise LcfError(f'--ra DEG --dec DEG: the name service knows no "{name}" ({error})') from None
    return float(found.icrs.ra.deg), float(found.icrs.dec.deg)


def header_name(headers: Sequence[fits.Header]) -> str:
    """Return what the headers call the target; empty where they don't agree."""
    for keyword in _NAMES:
        names = {text_of(h, keyword) for h in headers}
        if len(names) == 1 and (name := names.pop()) and name.lower() not in ("unknown", "none", "object"):
            return name
    return ""


def region_name(name: str) -> str:
    """Return a name as that of a region: letters, digits and what TOML keys and file names take."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "target"


def pointing(header: fits.Header) -> tuple[float, float] | None:
    """Return where a header says that the telescope pointed, or its target is; degrees, ICRS."""
    found = _pair(header, (*_POINTING, *_OF_TARGET))
    return found[:2] if found else None


def by_header(headers: Sequence[fits.Header]) -> Target | None:
    """Return the target by the keywords of the middle header; None where they don't say it."""
    middle = headers[len(headers) // 2]
    name = header_name(headers)
    for pairs, what in ((_OF_TARGET, "the target's place"), (_POINTING, "where the telescope pointed")):
        if (found := _pair(middle, pairs)) and (name or pairs is _OF_TARGET):
            ra, dec, keywords = found
            text = f"the target is {ra:.5f} {dec:+.5f}, {what} by {keywords}"
            check = "" if pairs is _OF_TARGET else ": pointing is seldom exact, so correct [roi] if no star is there"
            return Target(region_name(name), ra, dec, text + check)
    return None


def _pair(header: fits.Header, pairs: Sequence[tuple[str, str]]) -> tuple[float, float, str] | None:
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
