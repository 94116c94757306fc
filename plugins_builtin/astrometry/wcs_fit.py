"""World coordinate systems: read safely, fitted robustly to stars, compared with a catalogue."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from lcframework.sky.geometry import from_plane, separation, to_plane
from lcframework.types import Bools, Floats, Ints, PlateSolution
from plugins_builtin.shared.sky_positions import mean_direction

if TYPE_CHECKING:
    from astropy.io import fits

#: Sigma beyond which a pair of source and star is left out of a fit.
CLIP = 4.0
#: Movement of the reference position, arcsec, below which a fit has settled.
_SETTLED = 3.6e-6

_KEYWORDS = re.compile(
    r"^(WCSAXES|CTYPE[12]|CUNIT[12]|CRVAL[12]|CRPIX[12]|CDELT[12]|CROTA[12]|CD[12]_[12]|PC[12]_[12]|PC00[12]00[12]"
    r"|PV[12]_\d+|LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX|[AB]P?_ORDER|[AB]P?_\d+_\d+)$"
)
_TEXTS = re.compile(r"^(CTYPE[12]|CUNIT[12]|RADESYS|RADECSYS)$")
_EQUINOX = re.compile(r"^([JB]?)\s*(\d{4}(?:\.\d*)?)$", re.IGNORECASE)
#: How units of angles are spelled, by what FITS calls them; in lower case.
_UNITS = {
    "deg": ("degs", "degree", "degrees"), "arcmin": ("arcmins", "arcminute", "arcminutes"),
    "arcsec": ("arcsecs", "asec", "arcsecond", "arcseconds"), "rad": ("radian", "radians"), "mas": (),
}  # fmt: skip
_SIP = re.compile(r"^[AB]P?_(ORDER|\d+_\d+)$")
_PV = re.compile(r"^PV[12]_\d+$")
_TPV = re.compile(r"^PV[12]_([5-9]|\d\d)$")  # terms that no other use of PV has
_AXIS = re.compile(r"(RA|DEC|[A-Z]LON|[A-Z]LAT)-+([A-Z]{3})(-SIP)?")
_FROM_WCSLIB = re.compile(r"ERROR \d+ in \w+\(\) at line \d+ of file \S+:\s*")
_COUNTS = re.compile(r"^(WCSAXES|[AB]P?_ORDER)$")


class InvalidWcs(ValueError):
    """A header's WCS can't be used; the message says why."""


def celestial_keywords(header: fits.Header) -> fits.Header:
    """Return the keywords of a header's two-dimensional WCS, cleaned.

    Numbers that were written as strings become numbers, an equinox such as ``J2000`` too; units get the names that FITS
    has for them, and axes as many dashes; SIP coefficients get the suffix in CTYPE without which some programs ignore
    them, and TPV coefficients the projection of that name; where one distortion is written in both ways, SIP is kept
    where CTYPE names it, else TPV. Other keywords are left out. Of a keyword that is written twice the first counts.

    Raises
    ------
    InvalidWcs
        Where a number can't be read, or the distortion is one that needs more than the header.
    """
    from astropy.io import fits

    if any(f"{name}{axis}" in header for name in ("CPDIS", "CQDIS", "D2IMDIS") for axis in (1, 2)):
        raise InvalidWcs("its distortion is a look-up table in another HDU, which is not supported")
    clean = fits.Header()
    for card in header.cards:
        keyword = card.keyword.upper()
        if not _KEYWORDS.match(keyword) or isinstance(card.value, fits.card.Undefined) or card.value is None:
            continue
        if keyword in clean:
            continue
        value = _cleaned(keyword, card.value)
        if value is not None:
            clean[keyword] = value
    kind = str(clean.get("CTYPE1", ""))
    if "-TAN" in kind and not any(clean[keyword] for keyword in clean if _PV.match(keyword)):
        _leave_out(clean, _PV)  # no projection's: nothing but zeros
    has_tpv = any(_TPV.match(keyword) for keyword in clean) or _is_polynomial(clean)
    has_sip = clean.get("A_ORDER", 0) > 1 and "B_ORDER" in clean
    if has_tpv and not (has_sip and kind.endswith("-SIP")):
        # SCAMP wrote TPV under the name of TAN before it had a name.
        _name_projection(clean, r"-TAN(-SIP)?$", "-TPV")
        _leave_out(clean, _SIP)
    elif has_sip and not kind.endswith("-TPV"):
        _name_projection(clean, r"-TAN$", "-TAN-SIP")
        if has_tpv:
            _leave_out(clean, _PV)
    for axis in (1, 2) if str(clean.get("CTYPE1", "")).endswith("-TPV") else ():
        if f"PV{axis}_1" not in clean:
            clean[f"PV{axis}_1"] = 1.0  # the convention's default, which not every program knows
    clean["WCSAXES"] = 2
    return clean


def _cleaned(keyword: str, value: Any) -> Any:
    """Return a keyword's value as the standard has it; None where it says nothing."""
    if keyword == "EQUINOX":
        return read_equinox(value)[0]
    if not _TEXTS.match(keyword):
        return _number(keyword, value)
    text = str(value).strip()
    if keyword.startswith("CTYPE"):
        match = _AXIS.fullmatch(text.upper())
        return f"{match[1]:-<5}{match[2]}{match[3] or ''}" if match else text.upper()
    if keyword.startswith("CUNIT"):
        name = text.lower()
        return next((unit for unit, others in _UNITS.items() if name == unit or name in others), text) or "deg"
    return text


def read_equinox(value: Any) -> tuple[float | None, bool]:
    """Return the year of an equinox, such as 2000.0, '2000' or 'J2000', and whether it is Besselian by its letter."""
    match = _EQUINOX.match(str(value).strip())
    return (float(match[2]), match[1].upper() == "B") if match else (None, False)


def _is_polynomial(header: fits.Header) -> bool:
    """Whether the first terms of PV are those of a polynomial, under the name of TAN.

    By the standard PV of the longitude alone may stand beside TAN, and says where the projection's pole is.
    """
    if not re.search(r"-TAN(-SIP)?$", str(header.get("CTYPE1", ""))):
        return False
    linear = [float(header.get(f"PV{axis}_1", 0.0)) for axis in (1, 2)]
    return all(0.5 < term < 2.0 for term in linear)


def _name_projection(header: fits.Header, written: str, meant: str) -> None:
    for axis in (1, 2):
        header[f"CTYPE{axis}"] = re.sub(written, meant, str(header.get(f"CTYPE{axis}", "")))


def _leave_out(header: fits.Header, keywords: re.Pattern[str]) -> None:
    for keyword in [k for k in header if keywords.match(k)]:
        del header[keyword]


def _number(keyword: str, value: Any) -> float | int:
    try:
        number = float(str(value).strip().replace("D", "E").replace("d", "e"))
    except ValueError:
        raise InvalidWcs(f"{keyword} = {value!r} is not a number") from None
    if not np.isfinite(number):
        raise InvalidWcs(f"{keyword} = {value!r} is not a finite number")
    return int(number) if _COUNTS.match(keyword) else number


def open_wcs(header: fits.Header) -> Any:
    """Return the astropy WCS of a header of :func:`celestial_keywords`, without warnings about old conventions.

    Raises
    ------
    InvalidWcs
        Where it can't be read.
    """
    from astropy.wcs import WCS, FITSFixedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            return WCS(header, naxis=2)
        except Exception as error:  # wcslib raises a family of its own
            why = _FROM_WCSLIB.sub("", " ".join(str(error).split()))
            raise InvalidWcs(f"it can't be read: {why}") from error


def pixel_scales(wcs: Any, shape: tuple[int, int]) -> tuple[float, float]:
    """Return arcsec per pixel along x and y at the centre of the frame, measured through the distortion.

    Raises
    ------
    InvalidWcs
        Where the centre of the frame is nowhere on the sky.
    """
    x, y = 0.5 * (shape[1] - 1), 0.5 * (shape[0] - 1)
    ra, dec = wcs.all_pix2world([x - 0.5, x + 0.5, x, x], [y, y, y - 0.5, y + 0.5], 0)
    if not np.all(np.isfinite([ra, dec])):
        raise InvalidWcs("the frame's centre is nowhere on the sky")
    scales = separation(ra[::2], dec[::2], ra[1::2], dec[1::2])
    return float(scales[0]), float(scales[1])


def same_place(a: fits.Header, b: fits.Header, shape: tuple[int, int], tolerance: float = 0.2) -> bool:
    """Return whether two WCSs of a frame agree within `tolerance` pixels at its centre and corners."""
    ny, nx = shape
    x, y = np.array([0.5 * (nx - 1), 0, nx - 1, 0, nx - 1]), np.array([0.5 * (ny - 1), 0, 0, ny - 1, ny - 1])
    first, second = (open_wcs(h) for h in (a, b))
    apart = separation(*first.all_pix2world(x, y, 0), *second.all_pix2world(x, y, 0))
    return bool(np.all(apart < tolerance * max(pixel_scales(first, shape))))


def stars_in_frame(
    wcs: Any, ra: Floats, dec: Floats, shape: tuple[int, int], margin: float = 0.0
) -> tuple[Ints, Floats, Floats]:
    """Return which stars lie in the frame (or `margin` pixels around it), and their x and y."""
    ny, nx = shape
    ra0, dec0 = (float(v) for v in wcs.all_pix2world(0.5 * (nx - 1), 0.5 * (ny - 1), 0))
    scale = max(pixel_scales(wcs, shape))
    # Distortion polynomials diverge far from the frame and could map distant stars into it.
    near = np.flatnonzero(separation(ra, dec, ra0, dec0) < 1.2 * scale * (0.5 * np.hypot(nx, ny) + margin))
    if len(near) == 0:
        return near, np.zeros(0), np.zeros(0)
    x, y = wcs.all_world2pix(np.asarray(ra, float)[near], np.asarray(dec, float)[near], 0, quiet=True, maxiter=50)
    inside = (x > -0.5 - margin) & (x < nx - 0.5 + margin) & (y > -0.5 - margin) & (y < ny - 0.5 + margin)
    return near[inside], x[inside], y[inside]


@attrs.frozen(eq=False)
class WcsFit:
    """A WCS fitted to pairs of positions."""

    header: fits.Header
    used: Bools  # (n,) False where clipped
    rms: float  # pixels, of the distances of the pairs used
    order: int

    def solution(self, refined: bool = False) -> PlateSolution:
        """Return it as a plate solver's answer."""
        return PlateSolution(celestial_keywords(self.header), int(self.used.sum()), self.rms, refined)


def fit_wcs(x: Floats, y: Floats, ra: Floats, dec: Floats, shape: tuple[int, int], max_order: int = 1) -> WcsFit | None:
    """Fit a tangent-plane WCS, with SIP distortion where the stars call for it.

    Parameters
    ----------
    x, y : array (n,)
        0-based pixel positions.
    ra, dec : array (n,)
        The same stars, degrees ICRS.
    shape : tuple
        (ny, nx) of the frame, whose centre becomes the reference pixel.
    max_order : int
        The highest order to try; the one with the lowest corrected Akaike criterion wins.

    Returns
    -------
    WcsFit or None
        None where the pairs are too few.
    """
    x, y, ra, dec = (np.asarray(v, float) for v in (x, y, ra, dec))
    u, v = x - 0.5 * (shape[1] - 1), y - 0.5 * (shape[0] - 1)
    centre = mean_direction(ra, dec)
    best: tuple[float, Any] | None = None
    used = np.ones(len(x), bool)
    for order in range(1, max_order + 1):
        terms = (order + 1) * (order + 2) // 2
        if used.sum() < (3 if order == 1 else 2 * terms):
            break
        crval, coefficients, keep = _fit_order(u, v, ra, dec, centre, order, used)
        residual = _residuals(u, v, ra, dec, crval, coefficients, order)
        # Orders are compared on the pairs that the lowest one kept.
        common = used if best is not None else keep
        number = 2 * int(common.sum())
        parameters = 2 * terms
        score = number * np.log(np.mean(residual[common] ** 2) + 1e-12) + 2 * parameters
        score += 2 * parameters * (parameters + 1) / max(number - parameters - 1, 0.1)
        if best is None:
            used = keep
        if best is None or score < best[0] - 2.0:
            best = score, (crval, coefficients, keep, residual, order)
        centre = crval
    if best is None:
        return None
    crval, coefficients, keep, residual, order = best[1]
    header = _header(crval, coefficients, order, shape)
    return WcsFit(header, keep, float(np.sqrt(np.mean(residual[keep] ** 2))), order)


def _powers(order: int) -> list[tuple[int, int]]:
    return [(p, q) for total in range(order + 1) for p in range(total, -1, -1) for q in [total - p]]


def _design(u: Floats, v: Floats, order: int) -> Floats:
    return np.stack([u**p * v**q for p, q in _powers(order)], axis=-1)


def _fit_order(
    u: Floats, v: Floats, ra: Floats, dec: Floats, centre: tuple[float, float], order: int, start: Bools
) -> tuple[tuple[float, float], Floats, Bools]:
    """Return crval (degrees), coefficients (2, terms) from pixel offsets to arcsec, and which pairs were kept."""
    size = max(float(np.max(np.hypot(u, v))), 1.0)
    design = _design(u / size, v / size, order)
    keep = start.copy()
    scaling = np.array([size ** (p + q) for p, q in _powers(order)])
    coefficients = np.zeros((2, design.shape[1]))
    # Unlike `clip_and_refit`, each fit also moves the tangent point, and both it and the selection must settle.
    for _ in range(20):
        target = np.stack(to_plane(ra, dec, *centre))
        coefficients = np.linalg.lstsq(design[keep], target[:, keep].T, rcond=None)[0].T / scaling
        ra0, dec0 = from_plane(coefficients[0, 0], coefficients[1, 0], *centre)
        step = separation(ra0, dec0, *centre)
        centre = float(ra0), float(dec0)
        distance = _residuals(u, v, ra, dec, centre, coefficients, order)
        # The median of a Rayleigh distribution is 1.1774 sigma; the floor keeps perfect pairs from being clipped.
        sigma = max(float(np.median(distance[keep])) / 1.1774, 0.01)
        new = start & (distance < CLIP * sigma)
        settled = np.array_equal(new, keep) and step < _SETTLED
        if new.sum() < max(3, design.shape[1]) or settled:
            break
        keep = new
    coefficients[:, 0] = 0.0
    return centre, coefficients, keep


def _residuals(
    u: Floats, v: Floats, ra: Floats, dec: Floats, crval: tuple[float, float], coefficients: Floats, order: int
) -> Floats:
    """Return the distances in pixels between where the stars are and where the fit puts the sources."""
    linear = coefficients[:, 1:3]
    model = coefficients.copy()
    model[:, 0] = 0.0
    difference = np.stack(to_plane(ra, dec, *crval)) - model @ _design(u, v, order).T
    dx, dy = np.linalg.solve(linear, difference)
    return np.asarray(np.hypot(dx, dy))


def _header(crval: tuple[float, float], coefficients: Floats, order: int, shape: tuple[int, int]) -> fits.Header:
    from astropy.io import fits

    suffix = "-SIP" if order > 1 else ""
    linear = coefficients[:, 1:3]
    header = fits.Header()
    header["WCSAXES"] = 2
    header["CTYPE1"], header["CTYPE2"] = f"RA---TAN{suffix}", f"DEC--TAN{suffix}"
    header["CUNIT1"] = header["CUNIT2"] = "deg"
    header["CRVAL1"], header["CRVAL2"] = crval
    header["CRPIX1"], header["CRPIX2"] = 0.5 * (shape[1] + 1), 0.5 * (shape[0] + 1)
    for i in range(2):
        for j in range(2):
            header[f"CD{i + 1}_{j + 1}"] = linear[i, j] / 3600.0
    header["RADESYS"] = "ICRS"
    if order > 1:
        forward = np.linalg.solve(linear, coefficients[:, 3:])
        _write_sip(header, "", order, _powers(order)[3:], forward)
        _write_sip(header, "P", order, _powers(order), _inverse_sip(forward, order, shape))
    return header


def _write_sip(header: fits.Header, suffix: str, order: int, powers: list[tuple[int, int]], values: Floats) -> None:
    for name, row in zip("AB", values, strict=True):
        header[f"{name}{suffix}_ORDER"] = order
        for (p, q), value in zip(powers, row, strict=True):
            header[f"{name}{suffix}_{p}_{q}"] = value


def _inverse_sip(forward: Floats, order: int, shape: tuple[int, int]) -> Floats:
    """Fit the inverse polynomials on a grid over the frame."""
    ny, nx = shape
    u, v = (g.ravel() for g in np.meshgrid(np.linspace(-nx / 2, nx / 2, 20), np.linspace(-ny / 2, ny / 2, 20)))
    shift = forward @ _design(u, v, order)[:, 3:].T
    size = max(nx, ny) / 2.0
    scaling = np.array([size ** (p + q) for p, q in _powers(order)])
    design = _design((u + shift[0]) / size, (v + shift[1]) / size, order)
    return np.asarray(np.linalg.lstsq(design, -shift.T, rcond=None)[0].T / scaling)
