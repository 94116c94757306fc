"""Counts of a small camera: stars on a sky, with photon and read-out noise."""

from __future__ import annotations

import functools

import numpy as np

SHAPE = (240, 260)
BIAS = 300.0


@functools.lru_cache(maxsize=30)
def counts(
    seed: int = 1,
    gain: float = 1.5,
    *,
    brightest: float = 3e6,
    sky: float = 500.0,
    read_noise: float = 5.0,
    stars: int = 40,
    fwhm: float = 3.2,
    shape: tuple[int, int] = SHAPE,
) -> np.ndarray:
    """Return what a converter without an end counts (ny, nx); the stars have up to `brightest` electrons."""
    rng = np.random.default_rng(seed)
    ny, nx = shape
    y, x = np.mgrid[:ny, :nx]
    light = np.full(shape, float(sky))
    sigma = fwhm / 2.355
    for flux in brightest * rng.uniform(0.01, 1, stars):
        px, py = rng.uniform(5, nx - 5), rng.uniform(5, ny - 5)
        rows, columns = (slice(max(int(p - 6 * sigma), 0), int(p + 6 * sigma) + 2) for p in (py, px))
        near = (rows, columns)
        profile = np.exp(-((x[near] - px) ** 2 + (y[near] - py) ** 2) / (2 * sigma**2))
        light[near] += flux / (2 * np.pi * sigma**2) * profile
    electrons = rng.poisson(light) + rng.normal(0, read_noise, shape)
    image = np.rint(electrons / gain + BIAS)
    image.flags.writeable = False  # it is kept
    return image
