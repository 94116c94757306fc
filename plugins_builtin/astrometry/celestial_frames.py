"""In which celestial coordinates a header's WCS is, and the same WCS in ICRS."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from plugins_builtin.astrometry.wcs_fit import InvalidWcs, read_equinox

if TYPE_CHECKING:
    from astropy.io import fits

#: Projections about the reference position, whose turning is one of the sphere about that position.
_ZENITHAL = ("TAN", "TPV", "SIN", "ARC", "STG", "ZEA", "ZPN")
#: Years by which an equinox may differ from 2000 and mean it.
_SAME = 0.01
_OTHERS = {"GLON": "galactic", "ELON": "barycentricmeanecliptic", "SLON": "supergalactic"}
#: Equinoxes of before are those of FK4 where nothing says so (FITS standard 4.0, table 25).
_FIRST_OF_FK5 = 1984.0


@attrs.frozen(eq=False)
class Coordinates:
    """Celestial coordinates: astropy's frame of them (None: ICRS), and what they are in words."""

    frame: Any
    words: str


ICRS = Coordinates(None, "ICRS")


def coordinates(header: fits.Header) -> tuple[list[Coordinates], str]:
    """Return the coordinates that a WCS may be in, the likeliest first; and why there are several, or ''.

    An equinox of date is written beside a WCS in ICRS by many programs, and ``EPOCH`` may be the observation's.

    Parameters
    ----------
    header : Header
        A frame's, with CTYPE1 of the longitude or the latitude.

    Raises
    ------
    InvalidWcs
        Where the coordinates are not of the sky's, such as the sun's.
    """
    kinds = [str(header.get(f"CTYPE{i}", "")).strip().upper() for i in (1, 2)]
    for kind, name in _OTHERS.items():
        if any(k.startswith(kind) for k in kinds):
            return [Coordinates(name, name)], ""
    if not any(k.startswith("RA") for k in kinds):
        raise InvalidWcs(f"its axes {kinds[0]!r}, {kinds[1]!r} are not celestial coordinates of the sky")
    stated = _text(header, "RADESYS") or _text(header, "RADECSYS")
    written = header.get("EQUINOX")
    equinox, besselian = read_equinox(written) if written is not None else (None, False)
    unread = "" if written is None or equinox is not None else f"EQUINOX = {written!r} is no equinox"
    if stated == "ICRS":
        return [ICRS], ""
    if stated in ("FK5", "FK4", "FK4-NO-E"):
        return _equatorial(stated, equinox, unread)
    if stated:
        said, _ = read_equinox(stated)
        if stated == "GAPPT":
            of_date = equinox or _year(header)
            found, _ = _equatorial("FK5", of_date, "") if of_date is not None else ([], "")
            return [ICRS, *found[:1]], "RADESYS = 'GAPPT', and its apparent place of date is written beside ICRS too"
        equinox = equinox or said
    if equinox is None and not unread:
        epoch, besselian = read_equinox(header.get("EPOCH"))
        if epoch is None or not 1850.0 <= epoch <= 2150.0 or abs(epoch - 2000.0) < _SAME:
            return [ICRS], ""
        found, _ = _equatorial("FK4" if epoch < _FIRST_OF_FK5 or besselian else "FK5", epoch, "")
        return [ICRS, *found[:1]], f"EPOCH = {epoch:g} may be an equinox"
    system = "FK4" if besselian or (equinox or 2000.0) < _FIRST_OF_FK5 else "FK5"
    return _equatorial(system, equinox, unread)


def _equatorial(system: str, equinox: float | None, unread: str) -> tuple[list[Coordinates], str]:
    from astropy.coordinates import FK4, FK5, FK4NoETerms

    if unread:
        return [ICRS], unread
    year = equinox if equinox is not None else 2000.0 if system == "FK5" else 1950.0
    if system == "FK5":
        if abs(year - 2000.0) < _SAME:  # within 0.03 arcsec of ICRS
            return [ICRS], ""
        return [Coordinates(FK5(equinox=f"J{year}"), f"FK5 of {year:g}"), ICRS], f"its equinox is {year:g}"
    frame = (FK4 if system == "FK4" else FK4NoETerms)(equinox=f"B{year}")
    return [Coordinates(frame, f"{system} of {year:g}"), ICRS], f"its equinox is {year:g}"


def _year(header: fits.Header) -> float | None:
    """Return the year of an exposure by its date, where it begins with that; None for other dates."""
    match = re.match(r"(\d{4})-(\d\d)\b", str(header.get("DATE-OBS", "")).strip())
    return float(match[1]) + (int(match[2]) - 0.5) / 12.0 if match else None


def _text(header: fits.Header, keyword: str) -> str:
    return re.sub(r"\s+", "", str(header.get(keyword, ""))).upper()


def in_icrs(header: fits.Header, given: Coordinates) -> fits.Header:
    """Return a WCS in ICRS.

    The reference position is transformed, and the field turned by the angle between the two norths there (LONPOLE). For
    FK4 the aberration's elliptic terms, which differ by 3 mas over a degree, are those at the reference position.

    Parameters
    ----------
    header : Header
        A two-dimensional WCS in degrees, the longitude first.
    given : Coordinates
        What it is in.

    Raises
    ------
    InvalidWcs
        Where its projection is not one about the reference position.
    """
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    out = header.copy()
    for keyword in ("RADECSYS", "EQUINOX"):
        out.remove(keyword, ignore_missing=True)
    out["RADESYS"] = "ICRS"
    if given.frame is None:
        return out
    code = str(header["CTYPE1"])[5:8]
    if code not in _ZENITHAL:
        raise InvalidWcs(f"it is in {given.words}, and its projection {code!r} can't be turned to ICRS")
    place = SkyCoord(float(header["CRVAL1"]), float(header["CRVAL2"]), unit="deg", frame=given.frame)
    north = place.directional_offset_by(0.0 * u.deg, 0.01 * u.deg)
    here, up = place.icrs, north.icrs
    pole = 180.0 if float(header["CRVAL2"]) < 90.0 else 0.0
    angle = float(here.position_angle(up).deg)
    out["LONPOLE"] = (float(header.get("LONPOLE", pole)) + angle) % 360.0
    out.remove("LATPOLE", ignore_missing=True)
    out["CRVAL1"], out["CRVAL2"] = float(here.ra.deg), float(here.dec.deg)
    rest = str(header["CTYPE1"])[4:]
    out["CTYPE1"], out["CTYPE2"] = f"RA--{rest}", f"DEC-{rest}"
    return out
