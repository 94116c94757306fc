"""Cutting stamps out of a frame, with their noise maps and masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from lcframework.types import FWHM_PER_SIGMA, Bools, Floats

if TYPE_CHECKING:
    from astropy.table import Table

#: A neighbour is masked up to the radius where a Gaussian of its size falls to this many times the background's rms,
NEIGHBOUR_LEVEL = 0.5
#: ... and where the wings of a Moffat of this index fall to this many times it: those of a bright star reach further.
WING_INDEX, WING_LEVEL = 3.0, 2.0
#: ... but at least and at most to these radii, in units of its own rms size.
NEIGHBOUR_REACH = (3.0, 12.0)
#: A detection whose rms size is this many times a star's is none: a trail, a bank of sky, or several in one. Saturated
#: stars and galaxies that are as large are masked where they show, too.
LARGE = 3.0
_RMS_PER_FWHM = 1 / FWHM_PER_SIGMA
#: It is looked for in rings of so many pixels, and shows where their median is above the neighbours' level and above so
#: many of its own standard errors, of 1.25 / sqrt(n) of a pixel's noise.
_RING, _SURE = 32, 3.0
#: The noise of a median in units of that of a mean.
ERROR_OF_MEDIAN = 1.25
#: The rim of a stamp begins at this many times its size from the star.
_RIM = 0.45
#: ... and what is the same all around a star is this percentile of its light: a neighbour may lie on half of a ring.
_ROUND = 25.0


def corner_of(x: float, y: float, size: int) -> tuple[int, int]:
    """Return the first pixel of the stamp whose centre is nearest to (x, y)."""
    half = (size - 1) / 2
    return int(np.floor(x - half + 0.5)), int(np.floor(y - half + 0.5))


def own_radius(seeing: float) -> float:
    """Return the radius, in pixels, within which a source counts as the star itself."""
    return max(3.0, 1.5 * seeing)


def cut(image: Any, corner: tuple[int, int], size: int, fill: float) -> Any:
    """Return a stamp (size, size); pixels outside the image are `fill`."""
    x0, y0 = corner
    out = np.full((size, size), fill, image.dtype)
    ny, nx = image.shape
    ys, xs = slice(max(y0, 0), min(y0 + size, ny)), slice(max(x0, 0), min(x0 + size, nx))
    if ys.start < ys.stop and xs.start < xs.stop:
        out[ys.start - y0 : ys.stop - y0, xs.start - x0 : xs.stop - x0] = image[ys, xs]
    return out


def distance_from(point: tuple[float, float], corner: tuple[int, int], size: int) -> Floats:
    """Return the distance (size, size) of a stamp's pixels from a point (x, y) of the frame, pixels."""
    yy, xx = np.mgrid[:size, :size]
    return np.asarray(np.hypot(xx + corner[0] - point[0], yy + corner[1] - point[1]))


def any_near(mask: Any, x: float, y: float, reach: float) -> bool:
    """Return whether a pixel of a mask is set in the square that reaches so far from a place to each side."""
    half = int(np.ceil(reach))
    i, j = round(float(x)), round(float(y))
    return bool(mask[max(j - half, 0) : j + half + 1, max(i - half, 0) : i + half + 1].any())


def psf_area(fwhm: float) -> float:
    """Return the effective area of a PSF, in pixels: its flux has the noise of the sky in so many."""
    return 4 * np.pi * (fwhm / FWHM_PER_SIGMA) ** 2


def noise_map(stamp: Floats, rms: float, exptime: float, correlation: float = 1.0) -> Floats:
    """Return one sigma in e-/s: the rms of sky and detector, and the photon noise of the light above the sky.

    `stamp` must include the excess of hot pixels, because it contributes to the noise. Where pixels share their noise,
    photons have 1 / `correlation` of their variance in one pixel, as the sky has, whose rms is measured.
    """
    photons = np.maximum(stamp, 0) / np.float32(exptime * correlation)
    return np.sqrt(np.float32(rms**2) + photons).astype(np.float32)


def neighbour_mask(
    sources: Table,
    corner: tuple[int, int],
    stamp: Floats,
    own: tuple[float, float],
    own_radius: float,
    rms: float,
    seeing: float,
) -> Bools:
    """Return the mask (size, size) of pixels that other sources than the stamp's own object cover.

    The size and flux of a star say how far it reaches. Those of a detection that is much larger (a satellite's trail, a
    bank of sky along a vignetted edge, stars that were not told apart) don't: its second moments are those of no
    profile, and an ellipse of them covers much that the detection does not. Such a one is masked where the stamp's
    pixels show its light.

    Parameters
    ----------
    sources : Table
        All sources of the frame.
    corner : (int, int)
        The stamp's first pixel (x, y).
    stamp : (n, n) array
        The stamp, e-/s without the sky.
    own : (float, float)
        Position (x, y) of the stamp's object in the frame.
    own_radius : float
        Sources within this many pixels of it are not neighbours.
    rms : float
        Rms of the background, e-/s.
    seeing : float
        FWHM of the frame's stars, pixels.
    """
    size = len(stamp)
    out = np.zeros((size, size), bool)
    if len(sources) == 0:
        return out
    ellipses = _Ellipses.of(sources, corner, size, rms, seeing)
    others = np.hypot(ellipses.x - own[0], ellipses.y - own[1]) > own_radius
    large = ellipses.a > LARGE * seeing * _RMS_PER_FWHM
    # Faint wings on the stamp's own object cost less than its pixels are worth.
    around = distance_from(own, corner, size) > own_radius
    for i in np.flatnonzero(others & ellipses.near & ~large).tolist():
        radius = ellipses.radius(i)
        out |= (radius < ellipses.reach[i]) | ((radius < ellipses.wings[i]) & around)
    doubtful = np.flatnonzero(others & ellipses.near & large).tolist()
    if doubtful:
        taken = out.copy()
        for i in np.flatnonzero(~others & ellipses.near).tolist():
            taken |= ellipses.radius(i) < ellipses.reach[i]
        unexplained = _without_round_light(stamp, (own[0] - corner[0], own[1] - corner[1]))
        for i in doubtful:
            out |= _shown(unexplained, ellipses.radius(i), float(ellipses.reach[i]), taken, rms)
    return out


@attrs.frozen(eq=False)
class _Ellipses:
    """Where the sources of a frame lie about a stamp, and how far they reach."""

    x: Floats  # in the frame
    y: Floats
    a: Floats  # rms sizes, pixels
    b: Floats
    theta: Floats
    reach: Floats  # of their cores, in units of these
    wings: Floats  # of their wings
    near: Bools  # whether it can reach the stamp
    corner: tuple[int, int]
    size: int

    @classmethod
    def of(cls, sources: Table, corner: tuple[int, int], size: int, rms: float, seeing: float) -> _Ellipses:
        x, y, a, b, theta, flux = (np.asarray(sources[n], float) for n in ("x", "y", "a", "b", "theta", "flux"))
        # What has no size of its own is taken for a star.
        a = np.where(np.isfinite(a) & (a > 0), a, seeing * _RMS_PER_FWHM)
        b = np.where(np.isfinite(b) & (b > 0), b, a)
        reach, wings = np.clip(_reaches(np.nan_to_num(flux), np.maximum(a * b, 0.1), rms), *NEIGHBOUR_REACH)
        centre = np.add(corner, (size - 1) / 2)
        near = np.hypot(x - centre[0], y - centre[1]) < size * 0.75 + np.maximum(reach, wings) * a
        return cls(x, y, a, b, np.nan_to_num(theta), reach, wings, near, corner, size)

    def radius(self, i: int) -> Floats:
        """Return the distance of the stamp's pixels from one source, in units of its rms size."""
        yy, xx = np.mgrid[: self.size, : self.size]
        dx, dy = xx + self.corner[0] - self.x[i], yy + self.corner[1] - self.y[i]
        c, s = np.cos(self.theta[i]), np.sin(self.theta[i])
        along, across = c * dx + s * dy, -s * dx + c * dy
        return np.asarray(np.hypot(along / max(self.a[i], 0.7), across / max(self.b[i], 0.7)))


def _reaches(flux: Floats, area: Floats, rms: float) -> tuple[Floats, Floats]:
    """Return how far cores and wings reach, in units of the rms sizes of sources, of which `area` is the product."""
    peak = flux / (2 * np.pi * area)
    reach = np.sqrt(2 * np.log(np.maximum(peak / (NEIGHBOUR_LEVEL * rms), 1.0)))
    core = FWHM_PER_SIGMA**2 / 4 / (2 ** (1 / WING_INDEX) - 1)  # (a Moffat's scale radius / rms size of its core)^2
    peak = (WING_INDEX - 1) / np.pi * flux / (core * area)
    wings = np.sqrt(core * (np.maximum(peak / (WING_LEVEL * rms), 1.0) ** (1 / WING_INDEX) - 1))
    return reach, wings


def _without_round_light(stamp: Floats, centre: tuple[float, float]) -> Floats:
    """Return a stamp less what is the same all around a point: the wings of a star; its level at the rim stays."""
    radius = distance_from(centre, (0, 0), len(stamp))
    out, ring = stamp.copy(), np.rint(radius).astype(int)
    rim = np.percentile(stamp[radius > _RIM * len(stamp)], _ROUND)
    for r in range(ring.max() + 1):
        here = ring == r
        out[here] -= np.percentile(stamp[here], _ROUND) - rim if here.any() else 0
    return out


def _shown(stamp: Floats, radius: Floats, reach: float, taken: Bools, rms: float) -> Bools:
    """Return where a detection shows: the rings of its ellipse whose median is above the noise.

    Pixels with other sources' light, `taken`, have no say; rings of them alone are as the nearest one that has others.
    """
    out = np.zeros(stamp.shape, bool)
    inside = np.flatnonzero((radius < reach).ravel())
    inside = inside[np.argsort(radius.ravel()[inside], kind="stable")]
    rings = np.array_split(inside, max(1, len(inside) // _RING)) if len(inside) else []
    free = [ring[~taken.ravel()[ring]] for ring in rings]
    known = [k for k, pixels in enumerate(free) if len(pixels) >= min(_RING // 4, len(rings[k]))]
    least = {k: rms * max(NEIGHBOUR_LEVEL, _SURE * ERROR_OF_MEDIAN / np.sqrt(len(free[k]))) for k in known}
    shows = {k: bool(np.median(stamp.ravel()[free[k]]) > least[k]) for k in known}
    for k, ring in enumerate(rings):
        nearest = min(known, key=lambda other: abs(other - k), default=-1)
        if shows.get(nearest, False):
            out.ravel()[ring] = True
    return out
