"""The light of bright stars beside a region, measured in each frame, so that it can be taken off.

The wings of a star reach far beyond any PSF's stamp, and they change with the seeing. Where they fall on a region they
are no point source, no galaxy and no sky: a model of the region takes them for all of these, and fluxes follow the
seeing. Around the star itself the frame shows them. They are nearly round, so that the pixels at the same distance from
the star tell what lies on the region. What is not round of them (spikes, an elliptical PSF) is measured, too: it is
noise to the region's pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from lcframework.frames.stamping import ERROR_OF_MEDIAN, any_near, own_radius
from lcframework.types import Bools, Floats, Ints, PixelFlag
from lcframework.types.robust import scatter_about_zero

if TYPE_CHECKING:
    from astropy.table import Table

#: A star is considered where a Moffat profile of this index, that of the atmosphere's far wings (r^-11/3; King 1971,
#: PASP 83, 199), would be so many times the background's rms at the region; at most so many, the brightest.
_WINGS, _LEAST, _MOST = 11 / 6, 0.2, 8
#: A star is considered if it is so many times brighter than the light on the region: those that are not make no halo
#: that matters, and beside them the region's own light would spoil a profile. The ratio hardly changes with the seeing,
#: so that all frames are treated alike. Some seeings have to be between the two.
_BRIGHTER, _APART = 12.0, 2.0
#: A detection is a star if its FWHM is at most this many times the seeing, or if its core is saturated.
_STARLIKE = 1.5
#: A detection so near to a brighter star (seeings) and fainter than this share of it is a piece of that star's wings.
_PIECE, _FAINTER = 4.0, 0.1
#: Profiles are medians in rings of this width in units of the seeing, out to so many rings beyond the stamp,
_RING, _BEYOND = 0.5, 3
#: ... of at least so many pixels, and of this share of those that a whole ring has.
_PIXELS, _COVERED = 20, 0.15
#: They are smoothed by this width in the natural log of the radius.
_SMOOTHED = 0.25
#: Pixels so near (seeings) to other detections have no say.
_OTHERS = 1.5
#: A part of a frame that is larger than this, in pixels a side, is thinned out: its rings have pixels enough.
_LARGEST = 700
#: Profiles and centres are made so many times, each with the other halos taken off.
_PASSES = 3
#: A centre moves by at most so many seeings a pass: saturated cores and bleeding trails displace it by less.
_DISPLACED = 0.5
#: What is not round is at least this share of a halo, and at most that, or it is no star's. It is measured where halos
#: are so many times the noise.
_ROUNDEST, _LEAST_ROUND, _SEEN = 0.02, 0.4, 3.0
#: Pixels are masked where what is not round is so many times the background's rms. On the region itself more is
#: tolerated: the noise map gives such pixels their weight.
_MASKED, _MASKED_ON_REGION = 1.0, 5.0


@attrs.frozen(eq=False)
class FrameLight:
    """A frame, as far as halos are concerned.

    Attributes
    ----------
    image : (ny, nx) array
        e-/s, without the sky.
    flags : (ny, nx) array
        PixelFlag bits; flagged pixels tell nothing.
    sources : Table
        All sources of the frame.
    rms : float
        Of the background, e-/s.
    seeing : float
        FWHM of the frame's stars, pixels.
    exptime : float
        s.
    """

    image: Floats
    flags: Ints
    sources: Table
    rms: float
    seeing: float
    exptime: float


@attrs.frozen(eq=False)
class Halo:
    """The wings of one star.

    Attributes
    ----------
    x, y : float
        Its centre, pixels.
    flux : float
        As detected, e-/s.
    radius, level : (n,) arrays
        The profile: pixels, e-/s a pixel.
    unround : float
        By how much the light of a pixel differs from the profile, as a share of it.
    """

    x: float
    y: float
    flux: float
    radius: Floats = attrs.field(factory=lambda: np.zeros(0))
    level: Floats = attrs.field(factory=lambda: np.zeros(0))
    unround: float = _ROUNDEST

    def distance(self, x: Floats, y: Floats) -> Floats:
        """Return the distance of points from the star, pixels."""
        return np.asarray(np.hypot(x - self.x, y - self.y))

    def at(self, x: Floats, y: Floats) -> Floats:
        """Return the light at points, e-/s a pixel."""
        shown = self.level > 0
        if shown.sum() < 2:
            return np.zeros(np.shape(x))
        # Between two rings a power law, which wings are.
        radius, level = np.log(self.radius[shown]), np.log(self.level[shown])
        distance = np.log(np.maximum(self.distance(x, y), 0.5))
        return np.where(distance <= radius[-1], np.exp(np.interp(distance, radius, level)), 0.0)


@attrs.frozen(eq=False)
class HaloLight:
    """The halos on a stamp.

    Attributes
    ----------
    light : (n, n) array
        e-/s a pixel.
    unround : (n, n) array
        The standard deviation of what is not round of it, e-/s a pixel.
    """

    light: Floats
    unround: Floats

    def masked(self, on_region: Bools, rms: float) -> Bools:
        """Return the pixels in which too much is not round, given those that are the region's own."""
        return np.asarray(self.unround > rms * np.where(on_region, _MASKED_ON_REGION, _MASKED))


def on_stamp(halos: list[Halo], corner: tuple[int, int], size: int) -> HaloLight:
    """Return the halos on a stamp whose first pixel (x, y) is `corner`."""
    y, x = np.mgrid[corner[1] : corner[1] + size, corner[0] : corner[0] + size].astype(float)
    each = [(halo.at(x, y), halo.unround) for halo in halos]
    light = sum((light for light, _ in each), np.zeros((size, size)))
    variance = sum(((share * light) ** 2 for light, share in each), np.zeros((size, size)))
    return HaloLight(light, np.sqrt(variance))


def halos_beside(frame: FrameLight, own: tuple[float, float], reach: float, size: int) -> list[Halo]:
    """Return the halos of stars whose wings reach a region, as the frame shows them.

    Parameters
    ----------
    frame : FrameLight
        The frame.
    own : (float, float)
        Position (x, y) of the region, pixels.
    reach : float
        Sources within this many pixels of it are the region's own, and its pixels tell nothing of halos.
    size : int
        Side of the region's stamp, pixels.

    Returns
    -------
    list of Halo
        The brightest star first; empty where no halo can be seen at the region.
    """
    bright = _bright_stars(frame, own, reach)
    if not bright.size:
        return []
    x, y, flux = (np.asarray(frame.sources[name], float)[bright] for name in ("x", "y", "flux"))
    halos = [Halo(*star) for star in zip(x.tolist(), y.tolist(), flux.tolist(), strict=True)]
    far = np.hypot(x - own[0], y - own[1]) + 0.75 * size
    view = _View.around(frame, own, 2 * float(far.max()) + _BEYOND * frame.seeing)
    view = view.without(own, reach).without_others(frame, bright)
    for last in [False] * (_PASSES - 1) + [True]:
        for i, halo in enumerate(halos):
            rest = view.less([h for h in halos if h is not halo])
            found = _with_profile(halo, rest, float(far[i]), frame.seeing)
            halos[i] = _judged(found, rest) if last else _centred(found, rest, frame.seeing)
    return [h for h in halos if len(h.radius) and h.unround < _LEAST_ROUND]


def _bright_stars(frame: FrameLight, own: tuple[float, float], reach: float) -> Ints:
    """Return the rows of stars whose wings can be seen at a region, the brightest first."""
    names = ("x", "y", "flux", "fwhm")
    x, y, flux, fwhm = (np.asarray(frame.sources[name], float) for name in names)
    distance = np.hypot(x - own[0], y - own[1])
    seen = (distance > reach) & (_wings(np.nan_to_num(flux), distance, frame.seeing) > _LEAST * frame.rms)
    if seen.any():
        seen &= (flux > _BRIGHTER * _light_at(frame, own)) & (distance > _APART * frame.seeing)
    rows = np.flatnonzero(seen)
    rows = rows[np.argsort(-flux[rows], kind="stable")]
    chosen: list[int] = []
    for i in rows.tolist():
        apart = np.hypot(x[chosen] - x[i], y[chosen] - y[i])
        piece = (apart < _PIECE * frame.seeing) & (flux[i] < _FAINTER * flux[chosen])
        if not piece.any() and (fwhm[i] < _STARLIKE * frame.seeing or _saturated(frame, x[i], y[i])):
            chosen.append(i)
    return np.array(chosen[:_MOST], int)


def _wings(flux: Floats, distance: Floats, seeing: float) -> Floats:
    """Return the light of stars' far wings as the atmosphere makes them, e-/s a pixel."""
    core = seeing / 2 / np.sqrt(2 ** (1 / _WINGS) - 1)
    peak = (_WINGS - 1) / (np.pi * core**2) * np.maximum(flux, 0.0)
    return np.asarray(peak / (1 + (distance / core) ** 2) ** _WINGS)


def _light_at(frame: FrameLight, own: tuple[float, float]) -> float:
    """Return the light of a frame around a point, e-/s."""
    radius = own_radius(frame.seeing)
    return _View.around(frame, own, radius + 1).near(own, radius)


def _saturated(frame: FrameLight, x: float, y: float) -> bool:
    """Return whether a star's core has saturated pixels."""
    return any_near(frame.flags & PixelFlag.SATURATED.value, x, y, max(1, round(frame.seeing)))


@attrs.frozen(eq=False)
class _View:
    """A part of a frame, and which of its pixels tell of halos; of a large part every second pixel, and so on."""

    light: Floats
    noise: Floats
    free: Bools
    x: Floats
    y: Floats
    every: int

    @classmethod
    def around(cls, frame: FrameLight, centre: tuple[float, float], reach: float) -> _View:
        """Return a frame out to `reach` pixels from a point."""
        every = max(1, int(np.ceil(2 * reach / _LARGEST)))
        ends = zip(centre, frame.image.shape[::-1], strict=True)
        columns, rows = (slice(max(0, int(c - reach)), max(0, min(n, int(c + reach) + 1)), every) for c, n in ends)
        y, x = np.mgrid[rows, columns].astype(float)
        light = np.asarray(frame.image[rows, columns], float)
        noise = np.sqrt(frame.rms**2 + np.maximum(np.nan_to_num(light), 0.0) / frame.exptime)
        return cls(light, noise, (frame.flags[rows, columns] == 0) & np.isfinite(light), x, y, every)

    def near(self, centre: tuple[float, float], radius: float) -> float:
        """Return the light of the unflagged pixels around a point, e-/s."""
        inside = self.free & (np.hypot(self.x - centre[0], self.y - centre[1]) < radius)
        return float(self.light[inside].sum())

    def without(self, centre: tuple[float, float], radius: float) -> _View:
        """Return the view without the pixels around a point."""
        return attrs.evolve(self, free=self.free & (np.hypot(self.x - centre[0], self.y - centre[1]) > radius))

    def without_others(self, frame: FrameLight, stars: Ints) -> _View:
        """Return the view without the pixels around all sources but some."""
        if not self.free.size:
            return self
        free, radius = self.free.copy(), _OTHERS * frame.seeing
        others = np.setdiff1d(np.arange(len(frame.sources)), stars)
        for x, y in zip(*(np.asarray(frame.sources[name], float)[others] for name in ("x", "y")), strict=True):
            columns = slice(*np.searchsorted(self.x[0], (x - radius, x + radius)))
            rows = slice(*np.searchsorted(self.y[:, 0], (y - radius, y + radius)))
            free[rows, columns] &= np.hypot(self.x[rows, columns] - x, self.y[rows, columns] - y) > radius
        return attrs.evolve(self, free=free)

    def less(self, halos: list[Halo]) -> _View:
        """Return the view without the light of halos."""
        return attrs.evolve(self, light=self.light - sum(halo.at(self.x, self.y) for halo in halos))

    def seen(self, halo: Halo) -> tuple[Bools, Floats]:
        """Return the pixels in which a halo is above the noise, beyond its innermost ring, and its light in all."""
        light = halo.at(self.x, self.y)
        beyond = halo.distance(self.x, self.y) > 1.5 * halo.radius[0] if len(halo.radius) else False
        return np.asarray(self.free & (light > _SEEN * self.noise) & beyond), light


def _with_profile(halo: Halo, view: _View, far: float, seeing: float) -> Halo:
    """Return a halo with the profile that the rings around its star show, to beyond `far` pixels."""
    width = max(1.0, _RING * seeing)
    edges = np.arange(0.0, far + (_BEYOND + 1) * width, width)
    distance = halo.distance(view.x, view.y)[view.free]
    order = np.argsort(distance, kind="stable")
    distance, light, noise = distance[order], view.light[view.free][order], view.noise[view.free][order]
    bounds = np.searchsorted(distance, edges)
    rings = [slice(first, last) for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]
    whole = np.pi * (edges[1:] ** 2 - edges[:-1] ** 2) / view.every**2
    rings = [r for r, n in zip(rings, whole, strict=True) if r.stop - r.start >= max(_PIXELS, _COVERED * n)]
    if len(rings) < 2:
        return attrs.evolve(halo, radius=np.zeros(0), level=np.zeros(0))
    radius, level, typical = (np.array([np.median(v[r]) for r in rings]) for v in (distance, light, noise))
    error = ERROR_OF_MEDIAN * typical / np.sqrt([r.stop - r.start for r in rings])
    return attrs.evolve(halo, radius=radius, level=_smoothed(radius, level, error, seeing))


def _smoothed(radius: Floats, level: Floats, error: Floats, seeing: float) -> Floats:
    """Return a profile (n,) smoothed over the rings: local lines through its ratio to the atmosphere's wings."""
    wings = _wings(np.ones(len(radius)), radius, seeing)
    ratio, log = level / wings, np.log(radius)
    weight = 1 / ((error / wings) ** 2 + (_ROUNDEST * ratio) ** 2)
    out = np.zeros(len(radius))
    for k in range(len(radius)):
        near = weight * np.exp(-0.5 * ((log - log[k]) / _SMOOTHED) ** 2)
        mean, middle = np.average(ratio, weights=near), np.average(log, weights=near)
        slope = np.sum(near * (log - middle) * ratio) / max(np.sum(near * (log - middle) ** 2), 1e-12 * near.sum())
        out[k] = mean + slope * (log[k] - middle)
    return np.maximum(out * wings, 0.0)


def _centred(halo: Halo, view: _View, seeing: float) -> Halo:
    """Return a halo about the centre that its light tells: profiles about another one leave a dipole."""
    use, model = view.seen(halo)
    if use.sum() < _PIXELS:
        return halo
    dx, dy = view.x[use] - halo.x, view.y[use] - halo.y
    distance, model = np.hypot(dx, dy), model[use]
    slope = np.interp(distance, halo.radius, np.gradient(halo.level, halo.radius))
    columns = np.stack([-slope * dx / distance, -slope * dy / distance, np.ones(len(dx))], axis=-1)
    # Without the halo's own part the innermost pixels, whose spikes are beyond their noise, would tell all.
    weight = 1 / (view.noise[use] ** 2 + (5 * _ROUNDEST * model) ** 2)
    normal, right = (columns * weight[:, None]).T @ columns, columns.T @ (weight * (view.light[use] - model))
    move = np.clip(np.linalg.lstsq(normal, right, rcond=None)[0][:2], -_DISPLACED * seeing, _DISPLACED * seeing)
    return attrs.evolve(halo, x=halo.x + float(move[0]), y=halo.y + float(move[1]))


def _judged(halo: Halo, view: _View) -> Halo:
    """Return a halo with the share of it that is not round."""
    use, model = view.seen(halo)
    if use.sum() < _PIXELS:
        return halo
    spread = scatter_about_zero((view.light[use] - model[use]) / model[use])
    noise = float(np.median(view.noise[use] / model[use]))
    return attrs.evolve(halo, unround=max(_ROUNDEST, float(np.sqrt(max(spread**2 - noise**2, 0.0)))))
