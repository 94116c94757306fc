"""Two blended sources on a galaxy, in stamps small enough for a test."""

from __future__ import annotations

import numpy as np

from lcframework.testing.regions import Galaxy, Sky


def small_sky(epochs: int = 3, **changes: object) -> Sky:
    """Return the sky, with options of `Sky` changed."""
    rng = np.random.default_rng(3)
    options: dict = dict(
        sources=np.array([[0.6, 0.3], [-0.5, -0.4]]),
        flux=np.array([800.0, 500.0]) * rng.uniform(0.8, 1.2, (epochs, 2)),
        galaxies=(Galaxy(600.0, xi=0.05, eta=-0.03, radius=0.6, index=2.5),),
        seeing=rng.uniform(0.7, 1.1, epochs),
        stamp=18,
        kernel=24,
        rotation=0.02,
        dither=0.5,
    )
    return Sky(**(options | changes))
