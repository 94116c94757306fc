"""Adaptive moments: the elliptical Gaussian that matches each source best, for all sources of an image at once."""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.types import Bools, Floats

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))

_ITERATIONS = 25
_CHUNK = 400  # sources a pass, which bounds the memory
_NARROWEST_WEIGHT = 0.8  # pixels, one sigma


@attrs.frozen(eq=False)
class Moments:
    """Centres and second moments of sources."""

    x: Floats  # (n,) pixels, 0-based
    y: Floats  # (n,)
    a: Floats  # (n,) rms along the major axis, pixels
    b: Floats  # (n,)
    theta: Floats  # (n,) rad, from +x towards +y
    converged: Bools  # (n,)


def adaptive_moments(image: Floats, x: Floats, y: Floats, sigma: Floats, half: int) -> Moments:
    """Measure sources with a Gaussian weight that is matched to each.

    The weight's centre is the weighted centroid and its covariance twice the weighted covariance: the fixed point of
    that is the least-squares elliptical Gaussian (Bernstein & Jarvis 2002, AJ 123, 583), so the result depends
    little on wings and neighbours and not at all on a detection threshold.

    Parameters
    ----------
    image : array (ny, nx)
        Sky-subtracted.
    x, y, sigma : array (n,)
        Where to start, pixels.
    half : int
        Half size of the pixels used around each source.
    """
    x, y, sigma = (np.atleast_1d(np.asarray(v, float)) for v in (x, y, sigma))
    padded = np.pad(np.asarray(image, float), half)
    parts = [
        _measure(padded, x[i : i + _CHUNK], y[i : i + _CHUNK], sigma[i : i + _CHUNK], half)
        for i in range(0, len(x), _CHUNK)
    ]
    if not parts:
        return Moments(*(np.zeros(0) for _ in range(5)), np.zeros(0, bool))
    centre, covariance, converged = (np.concatenate(p) for p in zip(*parts, strict=True))
    a, b, theta = axes(covariance)
    return Moments(centre[:, 0], centre[:, 1], a, b, theta, converged)


def axes(covariance: Floats) -> tuple[Floats, Floats, Floats]:
    """Return rms along the major and minor axis and the major axis' angle of covariances (n, 2, 2)."""
    xx, yy, xy = covariance[:, 0, 0], covariance[:, 1, 1], covariance[:, 0, 1]
    mean, spread = 0.5 * (xx + yy), np.hypot(0.5 * (xx - yy), xy)
    theta = 0.5 * np.arctan2(2.0 * xy, xx - yy)
    return np.sqrt(np.maximum(mean + spread, 0)), np.sqrt(np.maximum(mean - spread, 0)), theta


def _measure(padded: Floats, x: Floats, y: Floats, sigma: Floats, half: int) -> tuple[Floats, Floats, Bools]:
    ny, nx = (n - 2 * half for n in padded.shape)
    ix, iy = (np.clip(np.rint(v).astype(int), 0, n - 1) for v, n in ((x, nx), (y, ny)))
    steps = np.arange(-half, half + 1)
    stamps = padded[(iy[:, None] + half + steps)[:, :, None], (ix[:, None] + half + steps)[:, None, :]]
    grid_x, grid_y = (ix[:, None] + steps)[:, None, :], (iy[:, None] + steps)[:, :, None]
    start = np.stack([x, y], axis=1)
    centre, covariance = start, np.clip(sigma, 0.7, half / 3.0)[:, None, None] ** 2 * np.eye(2)
    alive, change = np.ones(len(x), bool), np.full(len(x), np.inf)
    with np.errstate(all="ignore"):
        for _ in range(_ITERATIONS):
            new_centre, new = _step(stamps, grid_x, grid_y, centre, covariance)
            size = new[:, 0, 0] + new[:, 1, 1]
            alive &= np.isfinite(size) & (size < 2.0 * half**2) & (np.hypot(*(new_centre - start).T) < half)
            shift = np.hypot(*(new_centre - centre).T) + np.abs(new - covariance).sum(axis=(1, 2))
            change = np.where(alive, shift, np.inf)
            centre = np.where(alive[:, None], new_centre, centre)
            covariance = np.where(alive[:, None, None], new, covariance)
            if not np.any(alive & (change > 1e-5)):
                break
    return centre, covariance, alive & (change < 1e-2)


def _step(stamps: Floats, grid_x: Floats, grid_y: Floats, centre: Floats, shape: Floats) -> tuple[Floats, Floats]:
    """Return the centres and covariances that the weights of the present ones lead to."""
    weight, floored = _weight(shape)
    xx, yy, xy = (weight[:, i, j][:, None, None] for i, j in ((0, 0), (1, 1), (0, 1)))
    dx, dy = grid_x - centre[:, 0, None, None], grid_y - centre[:, 1, None, None]
    weighted = stamps * np.exp(-0.5 * (yy * dx**2 + xx * dy**2 - 2.0 * xy * dx * dy) / (xx * yy - xy**2))
    total = weighted.sum(axis=(1, 2))
    total = np.where(total > 0, total, np.nan)
    sum_of = lambda term: (weighted * term).sum(axis=(1, 2)) / total  # noqa: E731
    mx, my = sum_of(dx), sum_of(dy)
    second = [
        sum_of(t) - m for t, m in ((dx * dx, mx * mx), (dx * dy, mx * my), (dx * dy, mx * my), (dy * dy, my * my))
    ]
    measured = np.stack(second, axis=1).reshape(-1, 2, 2)
    new = 2.0 * measured
    if floored.any():
        new[floored] = _unweighted(measured[floored], weight[floored])
    # The weighted centroid lies at most half way to the source's: twice the step leads faster to the same point.
    return centre + 2.0 * np.stack([mx, my], axis=1), new


def _weight(shape: Floats) -> tuple[Floats, Bools]:
    """Return the covariances of the weights, and which differ from the sources'.

    A weight narrower than a pixel sees one or two pixels, and shrinks to nothing on them.
    """
    mean, spread = (
        0.5 * (shape[:, 0, 0] + shape[:, 1, 1]),
        np.hypot(0.5 * (shape[:, 0, 0] - shape[:, 1, 1]), shape[:, 0, 1]),
    )
    floored = mean - spread < _NARROWEST_WEIGHT**2
    weight = shape.copy()
    if floored.any():
        values, vectors = np.linalg.eigh(np.where(np.isfinite(shape[floored]), shape[floored], 1.0))
        values = np.maximum(values, _NARROWEST_WEIGHT**2)
        weight[floored] = np.einsum("nij,nj,nkj->nik", vectors, values, vectors)
    return weight, floored


def _unweighted(measured: Floats, weight: Floats) -> Floats:
    """Return the covariance of the Gaussians that look like `measured` through `weight`."""
    # A single bright pixel has no width at all: what keeps the inverses finite is far below any star's.
    tiny = 1e-3 * np.eye(2)
    inverse = np.linalg.inv(np.where(np.isfinite(measured), measured, 1.0) + tiny) - np.linalg.inv(weight)
    values, vectors = np.linalg.eigh(inverse)
    values = np.where(values > 0, 1.0 / values, np.inf)
    values = np.maximum(values - 1e-3, 1e-4)
    return np.einsum("nij,nj,nkj->nik", vectors, values, vectors)
