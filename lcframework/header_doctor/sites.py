"""Where a telescope stands, by its headers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from lcframework.frames.header_cards import as_number, text_of
from lcframework.header_doctor.angles import read_angle, right_ascension
from lcframework.sky.ephemerides import Site

if TYPE_CHECKING:
    from astropy.io import fits

_LATITUDE = ("SITELAT", "LAT-OBS", "OBS-LAT", "OBSLAT", "LATITUDE", "GEOLAT", "ESO TEL GEOLAT", "TELLAT", "OBSGEO-B")
_LONGITUDE = (
    "SITELONG", "SITELON", "LONG-OBS", "OBS-LONG", "OBSLONG", "OBSLON", "LONGITUD", "LONGITUDE", "GEOLON", "GEOLONG",
    "ESO TEL GEOLON", "TELLONG", "OBSGEO-L",
)  # fmt: skip
_ELEVATION = (
    "SITEELEV", "ALT-OBS", "OBS-ELEV", "OBSELEV", "ELEVATIO", "GEOELEV", "ESO TEL GEOELEV", "HEIGHT", "OBSALT",
    "SITEALT", "OBSGEO-H", "ALTITUDE",
)  # fmt: skip
_SIDEREAL = ("LST-OBS", "LST", "LST-BEG", "SIDTIME", "ST", "OBS-LST")
#: Degrees by which the sidereal time of a header may differ from that of its site: minutes between its cards.
_SAME = 3.0


@attrs.frozen
class SiteFound:
    """A telescope's place by its headers.

    Attributes
    ----------
    site : Site or None
        None where the headers do not say it, or not all of it.
    question : str
        What has to be asked; empty where nothing has.
    note : str
        What was decided about it.
    latitude, longitude : float or None
        Degrees, as they are written: known even where the longitude's sign has to be asked for,
    elevation : float
        and so is this, m.
    """

    site: Site | None = None
    question: str = ""
    note: str = ""
    latitude: float | None = None
    longitude: float | None = None
    elevation: float = 0.0


def find_site(headers: Sequence[tuple[fits.Header, float | None]]) -> SiteFound:
    """Return where the telescope of some frames stands.

    A longitude without a sign is given the one for which the sidereal time, of the header itself or as the sum of right
    ascension and hour angle, is that of the frame's time (local = Greenwich + longitude). Where nothing tells, it is
    asked for.

    Parameters
    ----------
    headers : sequence of (header, mjd)
        Of one instrument; the time is None where it is not known.
    """
    for header, _ in headers:
        if (place := _geocentric(header)) is not None:
            return SiteFound(place)
    for header, _ in headers:
        latitude = _first(header, _LATITUDE, 90.0)
        longitude = _first(header, _LONGITUDE, 360.0)
        if latitude is None or longitude is None:
            continue
        elevation = _elevation(header)
        value, keyword, known = longitude
        signs = {s for h, mjd in headers if mjd is not None for s in _sign(h, mjd, abs(value))}
        east = (value + 180.0) % 360.0 - 180.0
        if len(signs) == 1 and abs(value) <= 180.0:
            decided = signs.pop() * abs(value)
            changed = "" if known and decided == east else _decided(keyword, value, decided)
            return SiteFound(Site(latitude[0], decided, elevation), "", changed)
        if known or value > 180.0:
            return SiteFound(Site(latitude[0], east, elevation))
        return SiteFound(
            None,
            f"--longitude {value:g} or --longitude {-value:g}: {keyword} = {text_of(header, keyword)} in the header "
            f"{_unsure(header, keyword, value)}. East is positive",
            latitude=latitude[0],
            longitude=value,
            elevation=elevation,
        )
    return SiteFound()


def _unsure(header: fits.Header, keyword: str, value: float) -> str:
    """Return why a longitude's direction is not known."""
    if value < 0:
        return f'is negative, and called west ("{header.comments[keyword]}")'
    return "has no sign"


def _decided(keyword: str, value: float, decided: float) -> str:
    side = "east" if decided > 0 else "west"
    return f"the telescope's longitude ({keyword} = {value:g}) is {side}: the header's sidereal times say so"


def _first(header: fits.Header, keywords: Sequence[str], most: float) -> tuple[float, str, bool] | None:
    """Return the first angle under some keywords, the keyword, and whether its direction is known."""
    for keyword in keywords:
        angle = read_angle(text_of(header, keyword))
        if angle is None or abs(angle.value) > most:
            continue
        comment = str(header.comments[keyword]).lower() if keyword in header else ""
        east, west = re.search(r"\beast", comment), re.search(r"\bwest", comment)
        if bool(east) != bool(west):
            positive_west = west is not None and not re.search(r"west\w*\s*(is\s*)?(-|neg)", comment)
            if positive_west and angle.value < 0 and "posit" not in comment:
                return angle.value, keyword, False  # it may be west twice over: by its sign and in words
            return (-angle.value if positive_west else angle.value), keyword, True
        return angle.value, keyword, angle.signed or keyword.startswith("OBSGEO")
    return None


def _elevation(header: fits.Header) -> float:
    for keyword in _ELEVATION:
        value = as_number(text_of(header, keyword))
        if value is None or not -450.0 <= value <= 7000.0:
            continue
        comment = str(header.comments[keyword]).lower()
        # ALTITUDE is a telescope's direction too.
        if keyword != "ALTITUDE" or re.search(r"met(er|re)|\[m\]|sea", comment) or abs(value) > 90.0:
            return value
    return 0.0


def _geocentric(header: fits.Header) -> Site | None:
    """Return the place that OBSGEO-X, -Y and -Z give, metres from the Earth's centre."""
    xyz = [as_number(text_of(header, f"OBSGEO-{axis}")) for axis in "XYZ"]
    x, y, z = (np.nan if value is None else value for value in xyz)
    if not 6.2e6 < np.sqrt(x * x + y * y + z * z) < 6.5e6:
        return None
    import astropy.units as u
    from astropy.coordinates import EarthLocation

    place = EarthLocation.from_geocentric(x * u.m, y * u.m, z * u.m).to_geodetic()
    return Site(float(place.lat.deg), float(place.lon.deg), float(place.height.to_value(u.m)))


def _sign(header: fits.Header, mjd: float, longitude: float) -> set[int]:
    """Return the signs of a longitude with which a sidereal time of the header agrees with its time."""
    import erfa

    greenwich = float(np.degrees(erfa.gmst82(2400000.5, mjd)))
    found = set()
    for local in _sidereal_times(header):
        agrees = [s for s in (1, -1) if abs((local - greenwich - s * longitude + 180.0) % 360.0 - 180.0) < _SAME]
        found |= set(agrees) if len(agrees) == 1 else set()
    return found


def _sidereal_times(header: fits.Header) -> list[float]:
    """Return the sidereal times that a header gives, degrees."""
    out = []
    for keyword in _SIDEREAL:
        angle = read_angle(text_of(header, keyword))
        if angle is not None and angle.sexagesimal:
            out.append(angle.value * 15.0)
    ra, hour_angle = right_ascension(text_of(header, "RA")), read_angle(text_of(header, "HA"))
    if ra is not None and hour_angle is not None and (hour_angle.sexagesimal or abs(hour_angle.value) > 24.0):
        out.append(ra + hour_angle.value * (15.0 if hour_angle.sexagesimal else 1.0))
    return out
