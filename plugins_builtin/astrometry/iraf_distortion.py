"""IRAF's projections TNX and ZPX: the surfaces in a header's WAT cards, and a WCS of the projection TPV made of them.

Source: IRAF's descriptions of its TNX and ZPX world coordinate systems. Both add the surfaces ``lngcor`` and ``latcor``
to the coordinates xi, eta (degrees) that the CD matrix gives; ZPX then has the zenithal polynomial ``r = projp0 +
projp1 g + ...`` of the angle g from the reference position (radians), TNX the tangent plane.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs
import numpy as np

from lcframework.types import Floats
from plugins_builtin.astrometry.wcs_fit import InvalidWcs

if TYPE_CHECKING:
    from astropy.io import fits

PROJECTIONS = ("TNX", "ZPX")
#: Largest error, pixels, of the polynomial that stands for the surfaces.
_ACCURACY = 0.05
_ORDERS = (5, 7)
_CARD = 68  # characters of a WAT card; blanks at its end are lost when it is read
_TEXT = r"\b{}\s*=\s*\"([^\"]*)\""
_PARAMETER = re.compile(r"\bprojp(\d+)\s*=\s*([-+.\dEeDd]+)")
_CHEBYSHEV, _LEGENDRE, _POLYNOMIAL = 1, 2, 3
_NO_CROSS_TERMS, _ALL_CROSS_TERMS = 0, 1


@attrs.frozen(eq=False)
class Surface:
    """A polynomial in two coordinates, as IRAF's ``gsurfit`` writes it."""

    kind: int
    orders: tuple[int, int]
    cross_terms: int
    ranges: tuple[float, float, float, float]  # lowest and highest x and y
    coefficients: Floats

    @classmethod
    def read(cls, text: str) -> Surface:
        """Read the numbers of a surface.

        Raises
        ------
        InvalidWcs
            Where they make no surface.
        """
        try:
            numbers = [float(word.replace("D", "E").replace("d", "e")) for word in text.split()]
            kind, nx, ny, cross = (int(n) for n in numbers[:4])
            low_x, high_x, low_y, high_y = numbers[4:8]
        except ValueError:
            raise InvalidWcs("the surface of its WAT cards can't be read") from None
        surface = cls(kind, (nx, ny), cross, (low_x, high_x, low_y, high_y), np.array(numbers[8:]))
        if kind not in (_CHEBYSHEV, _LEGENDRE, _POLYNOMIAL) or len(surface.terms) != len(surface.coefficients):
            raise InvalidWcs(
                f"the surface of its WAT cards has {len(surface.coefficients)} coefficients where its orders "
                f"{nx} and {ny} ask for {len(surface.terms)}"
            )
        return surface

    @property
    def terms(self) -> list[tuple[int, int]]:
        """The degrees in x and y of each coefficient."""
        nx, ny = self.orders
        every = [(i, j) for j in range(ny) for i in range(nx)]
        if self.cross_terms == _ALL_CROSS_TERMS:
            return every
        if self.cross_terms == _NO_CROSS_TERMS:
            return [(i, j) for i, j in every if i == 0 or j == 0]
        return [(i, j) for i, j in every if i + j < max(nx, ny)]

    def __call__(self, x: Floats, y: Floats) -> Floats:
        """Return its values."""
        low_x, high_x, low_y, high_y = self.ranges
        if self.kind == _POLYNOMIAL:
            powers = [np.polynomial.polynomial.polyvander(v, n - 1) for v, n in zip((x, y), self.orders, strict=True)]
        else:
            basis = np.polynomial.chebyshev.chebvander
            if self.kind == _LEGENDRE:
                basis = np.polynomial.legendre.legvander
            u = (2 * x - high_x - low_x) / (high_x - low_x)
            v = (2 * y - high_y - low_y) / (high_y - low_y)
            powers = [basis(w, n - 1) for w, n in zip((u, v), self.orders, strict=True)]
        out = np.zeros(np.shape(x))
        for c, (i, j) in zip(self.coefficients, self.terms, strict=True):
            out += c * powers[0][:, i] * powers[1][:, j]
        return out


def watched(header: fits.Header, axis: int) -> str:
    """Return the text of a header's WAT cards of an axis, joined."""
    parts: list[str] = []
    while (keyword := f"WAT{axis}_{len(parts) + 1:03d}") in header:
        parts.append(str(header[keyword]).ljust(_CARD))
    return "".join(parts)


def with_terms(clean: fits.Header, header: fits.Header, shape: tuple[int, int], used: bool) -> fits.Header:
    """Return a WCS of IRAF's projections as one of TPV, or of TAN where no polynomial is called for.

    Parameters
    ----------
    clean : Header
        Of the WCS: a CD matrix in degrees, the longitude first.
    header : Header
        The frame's, with its WAT cards.
    shape : tuple
        (ny, nx) of the frame, in which the polynomials hold.
    used : bool
        Whether the surfaces are used; ZPX's radial polynomial is at any rate.

    Raises
    ------
    InvalidWcs
        Where the cards can't be read, or no polynomial stands for them.
    """
    out = clean.copy()
    projection = str(clean["CTYPE1"])[-3:]
    texts = [watched(header, axis) for axis in (1, 2)]
    found = [re.search(_TEXT.format(name), "".join(texts)) for name in ("lngcor", "latcor")]
    surfaces = [Surface.read(match[1]) for match in found if match] if used else []
    radial = {int(m[1]): float(m[2].lower().replace("d", "e")) for m in _PARAMETER.finditer("".join(texts))}
    if used and not surfaces and projection == "TNX":
        raise InvalidWcs("its projection is TNX and there are no WAT cards with a lngcor and a latcor")
    for axis, name in ((1, "RA---"), (2, "DEC--")):
        out[f"CTYPE{axis}"] = f"{str(clean[f'CTYPE{axis}'])[:5] or name}TAN"
    for keyword in [k for k in out if re.match(r"^PV[12]_\d+$", k)]:
        del out[keyword]
    if not surfaces and (projection == "TNX" or not radial):
        return out
    ny, nx = shape
    x, y = (v.ravel() for v in np.meshgrid(np.linspace(0.5, nx + 0.5, 25), np.linspace(0.5, ny + 0.5, 25)))
    cd = np.array([[float(clean[f"CD{i}_{j}"]) for j in (1, 2)] for i in (1, 2)])
    xi, eta = cd @ np.stack([x - float(clean["CRPIX1"]), y - float(clean["CRPIX2"])])
    moved = [xi.copy(), eta.copy()]
    for match in found if used else ():
        if match:
            moved[0 if "lngcor" in match[0] else 1] += Surface.read(match[1])(xi, eta)
    if projection == "ZPX" and radial:
        moved = _on_tangent_plane(moved[0], moved[1], radial)
    _write_tpv(out, xi, eta, moved, float(np.sqrt(abs(np.linalg.det(cd)))))
    return out


def _on_tangent_plane(x: Floats, y: Floats, radial: dict[int, float]) -> list[Floats]:
    """Return the tangent-plane coordinates of those of a zenithal polynomial, all in degrees."""
    polynomial = np.polynomial.Polynomial([radial.get(i, 0.0) for i in range(max(radial) + 1)])
    slope = polynomial.deriv()
    r = np.radians(np.hypot(x, y))
    angle = r.copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(30):
            angle -= (polynomial(angle) - r) / slope(angle)
        factor = np.where(r > 0, np.tan(angle) / r, 1.0)
    if not np.isfinite(factor).all():
        raise InvalidWcs("the radial polynomial of its projection ZPX (projp1, ...) has no inverse in the frame")
    return [x * factor, y * factor]


def _tpv_terms(order: int) -> list[tuple[int, int, int]]:
    """Return the number and the powers (along, across) of TPV's terms, without those in r."""
    terms, number = [], 0
    for degree in range(order + 1):
        for across in range(degree + 1):
            terms.append((number, degree - across, across))
            number += 1
        number += degree % 2  # r to this power
    return terms


def _write_tpv(header: fits.Header, xi: Floats, eta: Floats, moved: list[Floats], scale: float) -> None:
    """Write the polynomials that turn (xi, eta) into the tangent plane's coordinates; `scale` is degrees a pixel."""
    size = max(float(np.abs([xi, eta]).max()), scale)
    for order in _ORDERS:
        terms = _tpv_terms(order)
        cards: dict[str, float] = {}
        worst = 0.0
        for axis, along, across, wanted in ((1, xi, eta, moved[0]), (2, eta, xi, moved[1])):
            design = np.stack([(along / size) ** p * (across / size) ** q for _, p, q in terms], axis=1)
            solution = np.linalg.lstsq(design, wanted, rcond=None)[0]
            worst = max(worst, float(np.abs(design @ solution - wanted).max()) / scale)
            cards |= {f"PV{axis}_{n}": s / size ** (p + q) for (n, p, q), s in zip(terms, solution, strict=True)}
        if worst < _ACCURACY:
            break
    else:
        raise InvalidWcs(f"no polynomial of TPV stands for its terms: {worst:.2g} pixels are left")
    for axis in (1, 2):
        header[f"CTYPE{axis}"] = str(header[f"CTYPE{axis}"])[:5] + "TPV"
    header.update(cards)
