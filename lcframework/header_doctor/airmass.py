"""Compares the airmass in headers with that from time, position and site, to find which of these is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import attrs
import numpy as np
from astropy.io import fits

from lcframework.frames.header_cards import as_number, text_of
from lcframework.frames.samples import at_equal_steps
from lcframework.sky.ephemerides import Site, airmass_of, target_states
from lcframework.types import HeaderInfo

Position = tuple[float, float]

#: Allowed difference of stated and computed airmass X, from rounded times, the pointing and the rounded site ...
TOLERANCE = 0.05
#: ... plus this value times (X - 1) squared, by which formulas differ (the secant most of all).
_FORMULAS = 0.01
#: The number of files of an instrument that are compared, at equal steps.
MOST = 40
_AIRMASS = ("AIRMASS", "SECZ")
_ALTITUDE = ("OBJCTALT", "CENTALT", "TELALT", "ALT-OBJ", "ALT_OBJ")
_LATITUDE = ("SITELAT", "LATITUDE", "OBSLAT", "LAT-OBS", "GEOLAT")
_LONGITUDE = ("SITELONG", "LONGITUD", "OBSLONG", "LONG-OBS", "GEOLON")
_RA, _DEC = ("OBJCTRA", "RA", "CRVAL1"), ("OBJCTDEC", "DEC", "CRVAL2")
_SEXAGESIMAL = re.compile(r"^([+-]?)\s*(\d{1,3})[:\s]+(\d{1,2})(?:[:\s]+(\d{1,2}(?:\.\d*)?))?$")


@attrs.frozen
class _Stated:
    """The airmass that one header states, and the time, position and site for its computation."""

    name: str
    keyword: str
    airmass: float
    times: tuple[float, ...]  # MJD of start, middle and end
    position: Position
    site: Site

    def computed(self, hours: float = 0.0, mirrored: bool = False) -> np.ndarray:
        """Return the airmass at start, middle and end, inf below the horizon.

        `hours` shifts the times; `mirrored` changes the sign of the longitude.
        """
        site = attrs.evolve(self.site, longitude=-self.site.longitude) if mirrored else self.site
        states = target_states([t + hours / 24 for t in self.times], *self.position, site)
        return np.array([np.inf if s.airmass is None else s.airmass for s in states])

    def difference(self, hours: float = 0.0, mirrored: bool = False) -> float:
        """Return by how much the stated airmass is outside the computed range from start to end; 0 within it."""
        found = self.computed(hours, mirrored)
        away = max(found.min() - self.airmass, self.airmass - found.max())
        return float(max(away - _FORMULAS * (self.airmass - 1.0) ** 2, 0.0))


def airmass_verdict(
    files: Sequence[tuple[str, fits.Header, HeaderInfo]], site: Site | None = None, positions: Sequence[Position] = ()
) -> str:
    """Return in words how stated and computed airmass compare; empty where no header states an airmass.

    Parameters
    ----------
    files : sequence of (name, header, info)
        Of one instrument.
    site : Site, optional
        Of the telescope; where None, the header's.
    positions : sequence of (ra, dec)
        Degrees; the observed position for headers that do not state the pointing, used where there is only one.
    """
    chosen = at_equal_steps(files, MOST)
    stated = [(name, header, info, found) for name, header, info in chosen if (found := _stated_airmass(header))]
    if not stated:
        return ""
    read = [s for name, header, info, found in stated if (s := _read(name, header, info, found, site, positions))]
    keyword = stated[0][3][0]
    if not read:
        lacking = "its site" if site is None else "where it points"
        return f"{keyword} is not compared with the time: the header does not state {lacking}; ask with --project"
    differences = np.array([s.difference() for s in read])
    if differences.max() <= TOLERANCE:
        largest = f"{max(differences.max(), 0.005):.2f}"
        return f"{keyword} agrees with time, position and site to {largest} ({len(read)} files)"
    worst = read[int(differences.argmax())]
    found = worst.computed()[1]
    computed = f"{found:.2f} computed" if np.isfinite(found) else "below the horizon by time, position and site"
    return (
        f"CHECK: {keyword} differs from what time, position and site give in {int((differences > TOLERANCE).sum())} of "
        f"{len(read)} files: {worst.name} has {worst.airmass:.2f}, and is {computed}. {_explained(read)}"
    )


def _explained(read: Sequence[_Stated]) -> str:
    """Return a correction that would make all files agree, or possible causes."""
    shifts = sorted((h for h in range(-14, 15) if h), key=abs)
    guesses: list[tuple[str, Callable[[_Stated], float]]] = [
        ("longitude had the other sign (east is positive)", lambda s: s.difference(mirrored=True)),
        *((f"times were {abs(h)} h {'later' if h > 0 else 'earlier'} (are they UTC?)", lambda s, h=h: s.difference(h))
          for h in shifts),
    ]  # fmt: skip
    for what, difference in guesses:
        if max(map(difference, read)) <= TOLERANCE:
            return f"It would agree if the {what}"
    return "Wrong may be the site, its longitude's sign (east is positive), or times that are not UTC"


def _stated_airmass(header: fits.Header) -> tuple[str, float] | None:
    """Return (keyword, airmass) where a header states an airmass or an altitude, else None."""
    for key in _AIRMASS:
        value = as_number(text_of(header, key))
        if value is not None and 1.0 <= value < 40.0:
            return key, value
    for key in _ALTITUDE:
        altitude = _angle(text_of(header, key))
        value = airmass_of(altitude) if altitude is not None and altitude <= 90.0 else None
        if value is not None:
            return key, value
    return None


def _read(
    name: str, header: fits.Header, info: HeaderInfo, stated: tuple[str, float],
    site: Site | None, positions: Sequence[Position],
) -> _Stated | None:  # fmt: skip
    site = site or _site(header)
    position = _pointing(header) or (positions[0] if len(positions) == 1 else None)
    if site is None or position is None:
        return None
    return _Stated(name, *stated, (info.mjd_start, info.mjd_mid, info.mjd_end), position, site)


def _site(header: fits.Header) -> Site | None:
    latitude, longitude = (_first(header, keys) for keys in (_LATITUDE, _LONGITUDE))
    if latitude is None or longitude is None or abs(latitude) > 90.0 or abs(longitude) > 360.0:
        return None
    return Site(latitude, longitude, 0.0)


def _pointing(header: fits.Header) -> Position | None:
    """Return the pointing (ra, dec) in a header, degrees; sexagesimal right ascensions are in hours."""
    for x, y in zip(_RA, _DEC, strict=True):
        ra, dec = text_of(header, x), text_of(header, y)
        if x.startswith("CRVAL") and not text_of(header, "CTYPE1").startswith("RA"):
            continue
        lon, lat = _angle(ra), _angle(dec)
        if lon is not None and lat is not None and 0.0 <= lon <= 360.0 and abs(lat) <= 90.0:
            return (lon * 15.0 if _SEXAGESIMAL.match(ra) else lon, lat)
    return None


def _first(header: fits.Header, keys: Sequence[str]) -> float | None:
    return next((value for key in keys if (value := _angle(text_of(header, key))) is not None), None)


def _angle(text: str) -> float | None:
    """Return a number, or a sexagesimal angle in its first unit."""
    match = _SEXAGESIMAL.match(text)
    if match is None:
        return as_number(text)
    value = float(match[2]) + float(match[3]) / 60.0 + float(match[4] or 0.0) / 3600.0
    return -value if match[1] == "-" else value
