"""Compares the airmass in headers with that from time, position and site, to find which of these is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import numpy as np
from astropy.io import fits

from lcframework.frames.header_cards import as_number, text_of
from lcframework.frames.samples import at_equal_steps
from lcframework.header_doctor.angles import read_angle
from lcframework.header_doctor.pointing import OF_TARGET, OF_TELESCOPE, position_by
from lcframework.header_doctor.sites import find_site
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
        altitude = read_angle(text_of(header, key))
        value = airmass_of(altitude.value) if altitude is not None and altitude.value <= 90.0 else None
        if value is not None:
            return key, value
    return None


def _read(
    name: str, header: fits.Header, info: HeaderInfo, stated: tuple[str, float],
    site: Site | None, positions: Sequence[Position],
) -> _Stated | None:  # fmt: skip
    site = site or _site(header, info.mjd_mid)
    position = _place(header) or (positions[0] if len(positions) == 1 else None)
    if site is None or position is None:
        return None
    return _Stated(name, *stated, (info.mjd_start, info.mjd_mid, info.mjd_end), position, site)


def _site(header: fits.Header, mjd: float) -> Site | None:
    """Return the telescope's place in a header; a longitude whose sign nothing tells is taken as it is written."""
    found = find_site([(header, mjd)])
    if found.site is None and found.latitude is not None and found.longitude is not None:
        return Site(found.latitude, found.longitude, found.elevation)
    return found.site


def _place(header: fits.Header) -> Position | None:
    """Return the place of the target or of the telescope's pointing in a header, degrees ICRS; else of its WCS."""
    if found := position_by(header, (*OF_TARGET, *OF_TELESCOPE)):
        return found[:2]
    if not text_of(header, "CTYPE1").startswith("RA"):
        return None
    ra, dec = (as_number(text_of(header, key)) for key in ("CRVAL1", "CRVAL2"))
    return (ra, dec) if ra is not None and dec is not None and 0.0 <= ra <= 360.0 and abs(dec) <= 90.0 else None
