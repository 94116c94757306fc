"""Simulation of raw counts from the sky and a frame's conditions, and the precision of an ideal measurement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from lcframework.testing.campaign.observing import Conditions
from lcframework.testing.campaign.optics import STAMP, FieldPsf, stamp_image
from lcframework.testing.campaign.sky import TrueSky

Array = NDArray[Any]

MARGIN = 40  # pixels beyond the edge within which objects are drawn
COSMIC_RAY_LENGTH = 7.0  # pixels
COSMIC_RAY_CHARGE = 3000.0  # e-, median


@attrs.frozen(eq=False)
class Drawn:
    """The image of one object with unit flux: the part of its stamp that is in the frame."""

    row: int  # in the sky's objects
    x: float
    y: float
    where: tuple[slice, slice]
    image: Array


@attrs.frozen(eq=False)
class RawFrame:
    """A raw frame and its truth."""

    counts: Array  # (ny, nx) uint16, ADU
    expected: Array  # (ny, nx) float32 e-, before noise and without pedestal
    drawn: dict[int, Drawn]  # the objects whose truth is published
    usable: Array  # (ny, nx) bool: neither dead nor saturated
    cosmic_rays: int
    fwhm: float  # arcsec, at the target


def render(sky: TrueSky, conditions: Conditions) -> RawFrame:
    """Return one raw frame."""
    settings = conditions.settings
    psf = FieldPsf(conditions)
    published = published_rows(sky)
    rates = 10 ** (0.4 * (settings.zeropoint - sky.magnitudes(conditions.mjd))) * conditions.transparency
    expected = _sky_background(conditions)
    drawn = {}
    for item in _draw_all(sky, conditions, psf):
        expected[item.where] += np.float32(rates[item.row] * settings.exptime) * item.image
        if item.row in published:
            drawn[item.row] = item
    # The band limit of stamps causes negative ripples around bright stars; expected counts can't be negative.
    np.maximum(expected, 0.0, out=expected)
    electrons = _with_noise(expected, conditions)
    hits = _add_cosmic_rays(electrons, conditions)
    centre = 0.5 * (settings.size - 1)
    counts, usable = _read_out(electrons, expected, conditions)
    return RawFrame(counts, expected, drawn, usable, hits, psf.fwhm(centre, centre))


def published_rows(sky: TrueSky) -> set[int]:
    """Return the rows of the objects whose true fluxes are written for every frame."""
    return set(np.flatnonzero(np.isin(sky.objects["role"], ["target", "reference"])).tolist())


def _draw_all(sky: TrueSky, conditions: Conditions, psf: FieldPsf) -> Iterator[Drawn]:
    objects = sky.objects
    size = conditions.settings.size
    x, y = conditions.pixels(*sky.positions(conditions.mjd), np.asarray(objects["colour"]))
    inside = (x > -MARGIN) & (x < size + MARGIN) & (y > -MARGIN) & (y < size + MARGIN)
    for row in np.flatnonzero(inside).tolist():
        stamp = STAMP if objects["mag"][row] > 18.0 else 2 * STAMP if objects["mag"][row] > 15.0 else 4 * STAMP
        transform = psf.transform(x[row], y[row], stamp)
        if objects["kind"][row] == "galaxy":
            transform = transform * psf.profile(_galaxy(psf.galsim, objects[row], conditions.rotation), stamp)
        i, j = round(float(x[row])), round(float(y[row]))
        image = stamp_image(transform, x[row] - i, y[row] - j)
        clipped = _inside(image, i - stamp // 2, j - stamp // 2, size)
        if clipped is not None:
            yield Drawn(row, float(x[row]), float(y[row]), *clipped)


def _galaxy(galsim: Any, row: Any, rotation: float) -> Any:
    shape = galsim.Sersic(n=float(row["sersic_n"]), half_light_radius=float(row["radius"]))
    shape = shape.shear(q=float(row["axis_ratio"]), beta=float(row["angle"]) * galsim.degrees)
    return shape.rotate(rotation * galsim.degrees)


def _inside(image: Array, i: int, j: int, size: int) -> tuple[tuple[slice, slice], Array] | None:
    """Return the slices of the frame that a stamp with its first pixel at (i, j) covers, and that part of the stamp."""
    n = len(image)
    x0, x1, y0, y1 = max(i, 0), min(i + n, size), max(j, 0), min(j + n, size)
    if x1 <= x0 or y1 <= y0:
        return None
    return (slice(y0, y1), slice(x0, x1)), image[y0 - j : y1 - j, x0 - i : x1 - i]


def _sky_background(conditions: Conditions) -> Array:
    size = conditions.settings.size
    u = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    gx, gy, curved = conditions.gradient
    shape = 1.0 + gx * u[None, :] + gy * u[:, None] + curved * (u[None, :] ** 2 + u[:, None] ** 2 - 0.667)
    return np.asarray(conditions.sky * conditions.settings.exptime * shape, np.float32)


def _with_noise(expected: Array, conditions: Conditions) -> Array:
    settings = conditions.settings
    if not settings.noise:
        return expected.copy()
    rng = settings.random("noise", conditions.index)
    electrons = rng.poisson(expected).astype(np.float32)
    electrons += np.float32(settings.read_noise) * rng.standard_normal(expected.shape, np.float32)
    return electrons


def _add_cosmic_rays(electrons: Array, conditions: Conditions) -> int:
    """Add straight tracks of charge; return how many."""
    settings = conditions.settings
    rng = settings.random("cosmic rays", conditions.index)
    size = settings.size
    hits = int(rng.poisson(settings.cosmic_rays * (size / 1200.0) ** 2))
    for _ in range(hits):
        x, y = rng.uniform(0, size, 2)
        angle = rng.uniform(0, 2 * np.pi)
        steps = np.arange(0.0, 1.0 + rng.exponential(COSMIC_RAY_LENGTH), 0.25)
        charge = COSMIC_RAY_CHARGE * rng.lognormal(0.0, 0.8) * np.sqrt(len(steps) / 8.0)
        i = np.rint(x + steps * np.cos(angle)).astype(int)
        j = np.rint(y + steps * np.sin(angle)).astype(int)
        inside = (i >= 0) & (i < size) & (j >= 0) & (j < size)
        np.add.at(electrons, (j[inside], i[inside]), np.float32(charge / len(steps)))
    return hits


def _read_out(electrons: Array, expected: Array, conditions: Conditions) -> tuple[Array, Array]:
    """Return the counts, with bleeding, dead columns, hot pixels and digitization; and which pixels are usable."""
    settings = conditions.settings
    full_well = (settings.saturation - settings.pedestal) * settings.gain
    _bleed(electrons, full_well)
    usable = (expected < full_well) & (electrons < full_well)
    rng = settings.random("detector")
    dead = rng.choice(settings.size, settings.bad_columns, replace=False)
    centre = settings.size // 2
    dead[abs(dead - centre) < 0.1 * settings.size] //= 3  # not through the target
    hot = rng.integers(0, settings.size, (2, settings.hot_pixels))
    current = rng.uniform(5.0, 60.0, settings.hot_pixels)
    noise = settings.random("dead columns", conditions.index).standard_normal((settings.size, len(dead)))
    electrons[:, dead] = settings.read_noise * noise
    electrons[hot[0], hot[1]] += (current * settings.exptime).astype(np.float32)
    usable[:, dead] = False
    usable[hot[0], hot[1]] = False
    counts = np.rint(np.minimum(electrons, full_well) / settings.gain + settings.pedestal)
    return counts.clip(0, 65535).astype(np.uint16), usable


def _bleed(electrons: Array, full_well: float) -> None:
    """Spill charge above the full well up and down its column, half each way."""
    for column in np.flatnonzero((electrons > full_well).any(axis=0)).tolist():
        charge = electrons[:, column]
        excess = np.maximum(charge - full_well, 0.0)
        charge -= excess
        for direction in (1, -1):
            carried = 0.0
            for j in range(len(charge))[::direction]:
                carried += 0.5 * float(excess[j])
                if carried > 0.0:
                    taken = min(carried, full_well - float(charge[j]))
                    charge[j] += taken
                    carried -= taken


def flux_bounds(frame: RawFrame, conditions: Conditions) -> dict[int, float]:
    """Return the Cramer-Rao bound of each published object's flux, in e-/s at transparency 1.

    The bound is that of a measurement with known PSF, positions, galaxies, sky and noise. The fluxes of all sources are
    free together, so that overlapping neighbours increase it.
    """
    settings = conditions.settings
    variance = frame.expected + settings.read_noise**2 + settings.gain**2 / 12.0
    weight = np.where(frame.usable, 1.0 / variance, 0.0)
    per_flux = conditions.transparency * settings.exptime
    rows = list(frame.drawn)
    fisher = np.zeros((len(rows), len(rows)))
    for a, first in enumerate(rows):
        for b, second in enumerate(rows[: a + 1]):
            one, other = frame.drawn[first], frame.drawn[second]
            if abs(one.x - other.x) > STAMP or abs(one.y - other.y) > STAMP:
                continue
            where, cut_one, cut_other = _overlap(one, other)
            product = np.asarray(cut_one, float) * cut_other
            fisher[a, b] = fisher[b, a] = per_flux**2 * np.sum(product * weight[where])
    known = np.diag(fisher) > 0.0
    bounds = np.full(len(rows), np.nan)
    bounds[known] = np.sqrt(np.diag(np.linalg.inv(fisher[np.ix_(known, known)])))
    return dict(zip(rows, bounds.tolist(), strict=True))


def _overlap(one: Drawn, other: Drawn) -> tuple[tuple[slice, slice], Array, Array]:
    starts = [max(a.start, b.start) for a, b in zip(one.where, other.where, strict=True)]
    stops = [max(min(a.stop, b.stop), s) for a, b, s in zip(one.where, other.where, starts, strict=True)]
    where = (slice(starts[0], stops[0]), slice(starts[1], stops[1]))
    cuts = [
        item.image[
            starts[0] - item.where[0].start : stops[0] - item.where[0].start,
            starts[1] - item.where[1].start : stops[1] - item.where[1].start,
        ]
        for item in (one, other)
    ]
    return where, cuts[0], cuts[1]
