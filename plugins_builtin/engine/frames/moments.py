"""Adaptive moments: the elliptical Gaussian that matches each source best, for all sources of an image at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import attrs
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy.typing import NDArray

from lcframework.types import FWHM_PER_SIGMA, Bools, Floats, Ints

_ITERATIONS = 25
_CHUNK = 400  # sources measured together: bounds the memory
_NARROWEST_WEIGHT = 0.8  # pixels, one sigma

_Kind = TypeVar("_Kind", bound=np.generic)


@attrs.frozen(eq=False)
class Moments:
    """Centres and second moments of sources."""

    x: Float[Floats, " n"]  # pixels, 0-based
    y: Float[Floats, " n"]
    a: Float[Floats, " n"]  # rms along the major axis, pixels
    b: Float[Floats, " n"]
    theta: Float[Floats, " n"]  # rad, from +x towards +y
    converged: Bool[Bools, " n"]


def adaptive_moments(
    image: Float[Floats, "ny nx"],
    x: Float[Floats, " n"] | Sequence[float],
    y: Float[Floats, " n"] | Sequence[float],
    sigma: Float[Floats, " n"] | Sequence[float],
    half: int,
) -> Moments:
    """Measure sources with a Gaussian weight that is matched to each.

    The weight's centre is the weighted centroid and its covariance twice the weighted covariance: the fixed point of
    that is the least-squares elliptical Gaussian (Bernstein & Jarvis 2002, AJ 123, 583), so the result depends
    little on wings and neighbours and not at all on a detection threshold.

    Parameters
    ----------
    image : (ny, nx) array
        Sky-subtracted.
    x, y : (n,) arrays
        First guesses of the centres, pixels, 0-based.
    sigma : (n,) array
        First guesses of the rms widths, pixels.
    half : int
        The pixels within this many rows and columns of a source are used.

    Returns
    -------
    Moments
        Of a source that did not converge, the last estimate.
    """
    x, y, sigma = (np.atleast_1d(np.asarray(v, float)) for v in (x, y, sigma))
    parts = [
        _measure(image, x[i : i + _CHUNK], y[i : i + _CHUNK], sigma[i : i + _CHUNK], half)
        for i in range(0, len(x), _CHUNK)
    ]
    if not parts:
        none = np.zeros(0)
        return Moments(none, none, none, none, none, np.zeros(0, bool))
    centre, covariance, converged = (np.concatenate(p) for p in zip(*parts, strict=True))
    a, b, theta = axes(covariance)
    return Moments(centre[:, 0], centre[:, 1], a, b, theta, converged)


def stamps_at(
    image: Shaped[NDArray[_Kind], "ny nx"], x: Int[Ints, " n"], y: Int[Ints, " n"], half: int
) -> Shaped[NDArray[_Kind], "n side side"]:
    """Return square stamps around pixels (x, y) of an image, `half` pixels on each side; 0 beyond its border."""
    steps = np.arange(-half, half + 1)
    rows, columns = y[:, None] + steps, x[:, None] + steps
    (ny, nx), inside = image.shape, np.ones((len(x), len(steps), len(steps)), bool)
    inside &= ((rows >= 0) & (rows < ny))[:, :, None]
    inside &= ((columns >= 0) & (columns < nx))[:, None, :]
    values: NDArray[_Kind] = image[np.clip(rows, 0, ny - 1)[:, :, None], np.clip(columns, 0, nx - 1)[:, None, :]]
    values[~inside] = 0
    return values


def axes(
    covariance: Float[Floats, "n 2 2"],
) -> tuple[Float[Floats, " n"], Float[Floats, " n"], Float[Floats, " n"]]:
    """Return the rms along the major and the minor axis of covariances, and the major axis' angle from +x, rad."""
    xx, yy, xy = covariance[:, 0, 0], covariance[:, 1, 1], covariance[:, 0, 1]
    mean, spread = 0.5 * (xx + yy), np.hypot(0.5 * (xx - yy), xy)
    theta = 0.5 * np.arctan2(2.0 * xy, xx - yy)
    return np.sqrt(np.maximum(mean + spread, 0)), np.sqrt(np.maximum(mean - spread, 0)), theta


def width_factor(
    image: Float[Floats, "ny nx"],
    noise: Float[Floats, "ny nx"],
    bad: Bool[Bools, "ny nx"],
    moments: Moments,
    number: int = 60,
) -> float:
    """Return the FWHM of the sources' common profile over that of the Gaussians that match them best.

    Real profiles have wings, which make the matching Gaussian wider than the profile at half maximum: by a sixth for
    a Moffat of exponent 2.5. The pixels of the brightest sources, each in units of its own Gaussian, are fitted
    together with a Moffat profile; together they sample it finely even where no single source does.

    Parameters
    ----------
    image, noise : (ny, nx) arrays
        Sky-subtracted; one sigma of each pixel.
    bad : (ny, nx) bool array
        Pixels that must not be used.
    moments : Moments
        Of the image's sources.
    number : int
        How many of the sources with the highest peaks are used; 1 is returned where fewer than five can be.
    """
    from scipy.optimize import least_squares

    radius, value, sigma = _binned(*_profile(image, noise, bad, moments, number))
    if len(radius) < 10:
        return 1.0

    def residual(p: Float[Floats, " 3"]) -> Float[Floats, " bins"]:
        height, log_alpha, log_beta = p
        beta = 1.0 + np.exp(log_beta)
        deviation: Floats = (height * (1.0 + (radius / np.exp(log_alpha)) ** 2) ** -beta - value) / sigma
        return deviation

    start = [1.0, np.log(3.0), np.log(3.0)]
    bounds = [0.5, -1.0, -1.5], [2.5, 3.5, 5.0]
    fit = least_squares(residual, start, bounds=bounds, loss="soft_l1", max_nfev=60)
    alpha, beta = np.exp(fit.x[1]), 1.0 + np.exp(fit.x[2])
    return float(np.clip(2.0 * alpha * np.sqrt(2.0 ** (1.0 / beta) - 1.0) / FWHM_PER_SIGMA, 0.7, 1.1))


def _binned(
    radius: Float[Floats, " pixels"], value: Float[Floats, " pixels"], sigma: Float[Floats, " pixels"]
) -> tuple[Float[Floats, " bins"], Float[Floats, " bins"], Float[Floats, " bins"]]:
    """Return medians in bins of radius: neighbours and cosmic rays do not move them."""
    bins = np.floor(radius * 10.0).astype(int)
    order = np.argsort(bins, kind="stable")
    rows = np.split(order, np.searchsorted(bins[order], np.arange(41)))[1:-1]  # those of bins 0 to 39
    rows = [r for r in rows if len(r) >= 5]
    return (
        np.array([np.median(radius[r]) for r in rows]),
        np.array([np.median(value[r]) for r in rows]),
        np.array([1.25 * np.median(sigma[r]) / np.sqrt(len(r)) for r in rows]),
    )


def _profile(
    image: Float[Floats, "ny nx"],
    noise: Float[Floats, "ny nx"],
    bad: Bool[Bools, "ny nx"],
    moments: Moments,
    number: int,
) -> tuple[Float[Floats, " pixels"], Float[Floats, " pixels"], Float[Floats, " pixels"]]:
    """Return radius (sigma), relative height and its error, for the pixels of the sources with the highest peaks."""
    ny, nx = image.shape
    ix, iy = (np.clip(np.rint(v).astype(int), 0, n - 1) for v, n in ((moments.x, nx), (moments.y, ny)))
    typical = np.median(moments.a[moments.converged]) if moments.converged.any() else 0.0
    rows = np.flatnonzero(moments.converged & (moments.b > 0.6 * typical) & (moments.a < 1.5 * typical) & ~bad[iy, ix])
    rows = rows[np.argsort(-image[iy, ix][rows], kind="stable")][:number]
    radii, values, errors = [], [], []
    for i in rows:
        reach = int(np.ceil(4.0 * moments.a[i]))
        ys, xs = (slice(max(c - reach, 0), c + reach + 1) for c in (iy[i], ix[i]))
        gy, gx = (
            np.mgrid[ys, xs][:, : ny - ys.start, : nx - xs.start]
            - np.array([moments.y[i], moments.x[i]])[:, None, None]
        )
        cos, sin = np.cos(moments.theta[i]), np.sin(moments.theta[i])
        u = np.hypot((gx * cos + gy * sin) / moments.a[i], (gy * cos - gx * sin) / moments.b[i])
        keep = (u < 4.0) & ~bad[ys, xs]
        weight = np.exp(-0.5 * u[keep] ** 2)
        height = float((weight * image[ys, xs][keep]).sum() / (weight**2).sum()) if keep.any() else 0.0
        if height < 10.0 * float(np.median(noise[ys, xs])):
            continue
        radii.append(u[keep])
        values.append(image[ys, xs][keep] / height)
        # No source is worth more than a 50:1 one: what differs between bright ones is the model's error.
        errors.append(np.hypot(noise[ys, xs][keep] / height, 0.02))
    if len(radii) < 5:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    return np.concatenate(radii), np.concatenate(values), np.concatenate(errors)


def _measure(
    image: Float[Floats, "ny nx"],
    x: Float[Floats, " n"],
    y: Float[Floats, " n"],
    sigma: Float[Floats, " n"],
    half: int,
) -> tuple[Float[Floats, "n 2"], Float[Floats, "n 2 2"], Bool[Bools, " n"]]:
    ny, nx = image.shape
    ix, iy = (np.clip(np.rint(v).astype(int), 0, n - 1) for v, n in ((x, nx), (y, ny)))
    steps = np.arange(-half, half + 1)
    stamps = stamps_at(image, ix, iy, half).astype(float)
    grid_x, grid_y = (ix[:, None] + steps)[:, None, :], (iy[:, None] + steps)[:, :, None]
    start = np.stack([x, y], axis=1)
    centre, covariance = start.copy(), np.clip(sigma, 0.7, half / 3.0)[:, None, None] ** 2 * np.eye(2)
    alive, change = np.ones(len(x), bool), np.full(len(x), np.inf)
    with np.errstate(all="ignore"):
        for _ in range(_ITERATIONS):
            todo = np.flatnonzero(alive & (change > 1e-4))
            if len(todo) == 0:
                break
            new_centre, new = _step(stamps[todo], grid_x[todo], grid_y[todo], centre[todo], covariance[todo])
            size = new[:, 0, 0] + new[:, 1, 1]
            ok = np.isfinite(size) & (size < 2.0 * half**2) & (np.hypot(*(new_centre - start[todo]).T) < half)
            alive[todo[~ok]] = False
            todo, new_centre, new = todo[ok], new_centre[ok], new[ok]
            change[todo] = np.hypot(*(new_centre - centre[todo]).T) + np.abs(new - covariance[todo]).sum(axis=(1, 2))
            centre[todo], covariance[todo] = new_centre, new
    return centre, covariance, alive & (change < 1e-2)


def _step(
    stamps: Float[Floats, "n side side"],
    grid_x: Int[Ints, "n 1 side"],
    grid_y: Int[Ints, "n side 1"],
    centre: Float[Floats, "n 2"],
    shape: Float[Floats, "n 2 2"],
) -> tuple[Float[Floats, "n 2"], Float[Floats, "n 2 2"]]:
    """Return the next centres and covariances: those measured with weights made from the present ones."""
    weight, floored = _weight(shape)
    dx, dy = grid_x[:, 0] - centre[:, :1], grid_y[:, :, 0] - centre[:, 1:]
    # The exponent is a sum of terms of x, of y and of x y: only the last is needed for every pixel.
    scale = (-0.5 / (weight[:, 0, 0] * weight[:, 1, 1] - weight[:, 0, 1] ** 2))[:, None]
    exponent = np.einsum("ny,nx->nyx", (-2.0 * weight[:, 0, 1, None] * scale) * dy, dx)
    exponent += (weight[:, 1, 1, None] * scale * dx**2)[:, None, :]
    exponent += (weight[:, 0, 0, None] * scale * dy**2)[:, :, None]
    weighted = np.exp(exponent, out=exponent)
    weighted *= stamps
    columns, rows = weighted.sum(axis=1), weighted.sum(axis=2)
    total = columns.sum(axis=1)
    total = np.where(total > 0, total, np.nan)
    mx, my = (columns * dx).sum(axis=1) / total, (rows * dy).sum(axis=1) / total
    xx, yy = (columns * dx**2).sum(axis=1) / total, (rows * dy**2).sum(axis=1) / total
    xy = (np.matmul(weighted, dx[:, :, None])[:, :, 0] * dy).sum(axis=1) / total - mx * my
    second = [xx - mx**2, xy, xy, yy - my**2]
    measured = np.stack(second, axis=1).reshape(-1, 2, 2)
    new = 2.0 * measured
    if floored.any():
        new[floored] = _unweighted(measured[floored], weight[floored])
    # The weight pulls the centroid towards its own centre: by half where it is as wide as the source, else by less.
    offset = np.stack([mx, my], axis=1)
    return centre + offset + np.einsum("nij,nj->ni", shape @ np.linalg.inv(weight), offset), new


def _weight(shape: Float[Floats, "n 2 2"]) -> tuple[Float[Floats, "n 2 2"], Bool[Bools, " n"]]:
    """Return the covariances of the weights, and which of them were widened to the narrowest that is allowed.

    A weight narrower than a pixel covers one or two pixels, and would shrink to zero on them.
    """
    mean, spread = (
        0.5 * (shape[:, 0, 0] + shape[:, 1, 1]),
        np.hypot(0.5 * (shape[:, 0, 0] - shape[:, 1, 1]), shape[:, 0, 1]),
    )
    floored = mean - spread < _NARROWEST_WEIGHT**2
    weight = shape.copy()
    if floored.any():
        values, vectors = np.linalg.eigh(np.where(np.isfinite(shape[floored]), shape[floored], np.eye(2)))
        values = np.maximum(values, _NARROWEST_WEIGHT**2)
        weight[floored] = _compose(values, vectors)
    return weight, floored


def _unweighted(measured: Float[Floats, "n 2 2"], weight: Float[Floats, "n 2 2"]) -> Float[Floats, "n 2 2"]:
    """Return the covariances of the Gaussians that have `measured` under the `weight`; inf where there is none."""
    # A single bright pixel has no width at all, or less than none with noise: the floor is far below any star's.
    values, vectors = np.linalg.eigh(np.where(np.isfinite(measured), measured, 1e3 * np.eye(2)))
    inverse = _compose(1.0 / np.maximum(values, 1e-3), vectors) - np.linalg.inv(weight)
    values, vectors = np.linalg.eigh(inverse)
    return np.where(values.min(axis=1)[:, None, None] > 0, _compose(1.0 / values, vectors), np.inf)


def _compose(values: Float[Floats, "n 2"], vectors: Float[Floats, "n 2 2"]) -> Float[Floats, "n 2 2"]:
    return np.asarray(np.einsum("nij,nj,nkj->nik", vectors, values, vectors))
