"""The WCSs that a frame's header may mean: one, or several where it contradicts itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs
import numpy as np

from lcframework.types import Doubt, Severity
from plugins_builtin.astrometry.celestial_frames import coordinates, in_icrs
from plugins_builtin.astrometry.iraf_distortion import PROJECTIONS, with_terms
from plugins_builtin.astrometry.wcs_fit import InvalidWcs, celestial_keywords

if TYPE_CHECKING:
    from astropy.io import fits

_PC = r"PC([12]_[12]|00[12]00[12])"
#: Keywords of a matrix of scales and rotation by the way in which it is written, in the standard's order of precedence.
_WAYS = {"the CD matrix": r"CD[12]_[12]", "the PC matrix": _PC, "CROTA": r"CROTA[12]"}
_REFIT = "Set refine = true in [plate_solving.existing], or name a solver in [plate_solving] plugin"


@attrs.frozen(eq=False)
class Reading:
    """A WCS that a header may mean.

    Attributes
    ----------
    header : Header
        In degrees and ICRS, the longitude first.
    words : str
        Of what it is made.
    doubts : tuple of Doubt
        About it, where it is believed.
    """

    header: fits.Header
    words: str
    doubts: tuple[Doubt, ...] = ()


@attrs.frozen(eq=False)
class Readings:
    """What a header's WCS may be, the likeliest first; what contradicts itself in it; and what could not be read.

    `unmade` are the reasons for which it could not be had in coordinates in which it may be, and whether those are the
    likeliest.
    """

    found: tuple[Reading, ...]
    contradictions: tuple[str, ...]
    reasons: tuple[str, ...]
    unmade: tuple[tuple[str, bool], ...] = ()


def readings(header: fits.Header, shape: tuple[int, int]) -> Readings:
    """Return the WCSs that a header may mean.

    There are several where a matrix is written in several ways, where
    the equinox is not 2000, and where the projection is one of IRAF's: with its terms and without them.

    Parameters
    ----------
    header : Header
        The frame's.
    shape : tuple
        (ny, nx) of the frame.

    Raises
    ------
    InvalidWcs
        Where nothing can be read.
    """
    systems, why = coordinates(header) if "CTYPE1" in header else ([], "")
    contradictions = [why] if why else []
    found: list[Reading] = []
    reasons: list[str] = []
    unmade: list[tuple[str, bool]] = []
    matrices = list(_matrices(clean := celestial_keywords(header)))
    if len(matrices) > 1 and any(re.fullmatch(_PC, k) for k in clean):
        contradictions.append("the matrix is written in several ways (CD, PC, CROTA) that the standard forbids")
    for matrix, words in matrices:
        for projected, doubts in _projections(matrix, header, shape, reasons):
            for i, system in enumerate(systems):
                try:
                    turned = in_icrs(projected, system) if _needs_turning(projected, system.frame) else projected
                    found.append(Reading(turned, f"{words} in {system.words}", doubts))
                except InvalidWcs as error:
                    reasons.append(str(error))
                    unmade.append((str(error), i == 0))
    if not systems:
        found += [Reading(matrix, words) for matrix, words in matrices]
    return Readings(
        tuple(found), tuple(dict.fromkeys(contradictions)), tuple(dict.fromkeys(reasons)), tuple(dict.fromkeys(unmade))
    )


def _needs_turning(header: fits.Header, frame: object) -> bool:
    """Return whether a WCS is to be written anew; one that says nothing else than ICRS, or FK5 of 2000, stays as is."""
    equinox = header.get("EQUINOX")
    return frame is not None or (equinox is not None and abs(float(equinox) - 2000.0) > 0.01)


def _matrices(clean: fits.Header) -> Iterator[tuple[fits.Header, str]]:
    """Yield the WCS with each of the matrices that it holds alone."""
    ways = {words: [k for k in clean if re.fullmatch(pattern, k)] for words, pattern in _WAYS.items()}
    there = [words for words, keywords in ways.items() if keywords]
    if "CROTA" in there and len(there) > 1 and not ("CDELT1" in clean and "CDELT2" in clean):
        there.remove("CROTA")
    for words in there or [""]:
        out = clean.copy()
        for other, keywords in ways.items():
            for keyword in keywords if other != words else ():
                del out[keyword]
        if words == "the CD matrix" and len(there) > 1:
            for axis in (1, 2):
                out.remove(f"CDELT{axis}", ignore_missing=True)
        yield _in_order(out), words or "CDELT"


def _in_order(header: fits.Header) -> fits.Header:
    """Return a WCS with the longitude first, in degrees; the same where it is so."""
    latitude_first = str(header.get("CTYPE1", "")).upper().startswith(("DEC", "GLAT", "ELAT", "SLAT"))
    units = [str(header.get(f"CUNIT{i}", "deg")) for i in (1, 2)]
    if not latitude_first and units == ["deg", "deg"] and str(header.get("CTYPE1", ""))[5:8] not in PROJECTIONS:
        return header
    out = _with_cd(header, latitude_first)
    factors = [_DEGREES.get(unit) for unit in units]
    if None in factors:
        raise InvalidWcs(f"its unit CUNIT = {units[factors.index(None)]!r} is none of an angle")
    for axis, factor in enumerate(factors, 1):
        out[f"CUNIT{axis}"] = "deg"
        for keyword in (f"CRVAL{axis}", f"CD{axis}_1", f"CD{axis}_2") if factor != 1.0 else ():
            if keyword in out:
                out[keyword] = float(out[keyword]) * float(factor or 1.0)
    return _swapped(out) if latitude_first else out


_DEGREES = {"deg": 1.0, "arcmin": 1 / 60, "arcsec": 1 / 3600, "mas": 1 / 3.6e6, "rad": float(np.degrees(1.0))}


def _with_cd(header: fits.Header, latitude_first: bool) -> fits.Header:
    """Return a WCS with its matrix as CD."""
    number = {k: float(v) for k, v in header.items() if isinstance(v, int | float)}
    step = np.array([number.get(f"CDELT{i}", 1.0) for i in (1, 2)])
    axes = [(i, j) for i in (1, 2) for j in (1, 2)]
    if any(re.fullmatch(r"CD[12]_[12]", k) for k in number):
        cd = np.array([number.get(f"CD{i}_{j}", 0.0) for i, j in axes]).reshape(2, 2)
    elif any(re.fullmatch(_PC, k) for k in number):
        pc = [number.get(f"PC{i}_{j}", number.get(f"PC00{i}00{j}", float(i == j))) for i, j in axes]
        cd = step[:, None] * np.array(pc).reshape(2, 2)
    else:
        lat, lon = (0, 1) if latitude_first else (1, 0)
        angle = np.radians(number.get(f"CROTA{lat + 1}", number.get(f"CROTA{lon + 1}", 0.0)))
        cd = np.zeros((2, 2))
        cd[lon, lon], cd[lon, lat] = step[lon] * np.cos(angle), -step[lat] * np.sin(angle)
        cd[lat, lon], cd[lat, lat] = step[lon] * np.sin(angle), step[lat] * np.cos(angle)
    out = header.copy()
    for keyword in [k for k in out if re.fullmatch(rf"CDELT[12]|CROTA[12]|CD[12]_[12]|{_PC}", k)]:
        del out[keyword]
    for i, j in axes:
        out[f"CD{i}_{j}"] = float(cd[i - 1, j - 1])
    return out


def _swapped(header: fits.Header) -> fits.Header:
    """Return a WCS whose world axes have changed places; the pixels' stay."""
    out = header.copy()
    for keyword in [k for k in out if re.fullmatch(r"(CTYPE|CUNIT|CRVAL)[12]|CD[12]_[12]|PV[12]_\d+", k)]:
        del out[keyword]
    for keyword in header:
        if match := re.fullmatch(r"(CTYPE|CUNIT|CRVAL|CD|PV)([12])(_\d+)?", keyword):
            out[f"{match[1]}{3 - int(match[2])}{match[3] or ''}"] = header[keyword]
    return out


def _projections(
    matrix: fits.Header, header: fits.Header, shape: tuple[int, int], reasons: list[str]
) -> Iterator[tuple[fits.Header, tuple[Doubt, ...]]]:
    """Yield the WCS; where its projection is IRAF's, with the terms of that and without."""
    projection = str(matrix.get("CTYPE1", ""))[5:8]
    if projection not in PROJECTIONS:
        yield matrix, ()
        return
    remedy = f"{_REFIT}, where positions towards the edges matter"
    text = f"the header's terms of {projection} do not fit the stars and are not used"
    doubt = Doubt("unused_distortion", text, remedy, severity=Severity.NOTE)
    try:
        yield with_terms(matrix, header, shape, used=True), ()
    except InvalidWcs as error:
        text = f"the header's distortion is not used: {error}"
        doubt = Doubt("unused_distortion", text, remedy, severity=Severity.DOUBT)
    try:
        yield with_terms(matrix, header, shape, used=False), (doubt,)
    except InvalidWcs as error:
        reasons.append(str(error))
