"""The error of the PSF that draws, by the scatter of held-out stars."""

from __future__ import annotations

import numpy as np
import pytest

from lcframework.injections.drawing_error import drawing_error


def frames(scatter: float, noise: float, number: int = 40, stars: int = 12) -> list[dict[str, tuple[float, float]]]:
    rng = np.random.default_rng(5)
    level = 1 + 0.02 * rng.normal(size=stars)  # of a star in all frames: no part of it
    ratio = level * (1 + np.hypot(scatter, noise) * rng.normal(size=(number, stars)))
    return [{f"s{j}": (float(r), noise) for j, r in enumerate(row)} for row in ratio]


@pytest.mark.parametrize("scatter", [0.004, 0.02])
def test_scatter_beyond_the_noise(scatter: float) -> None:
    # 480 values tell a width to 1.17 / sqrt(480) of it, and the noise is a part of it.
    assert drawing_error(frames(scatter, 0.003)) == pytest.approx(scatter, rel=0.2)


def test_noise_alone() -> None:
    assert drawing_error(frames(0.0, 0.005)) < 0.0015


def test_stars_that_come_and_go() -> None:
    every = frames(0.02, 0.003)
    for i, frame in enumerate(every):
        del frame[f"s{i % 12}"]
    assert drawing_error(every) == pytest.approx(0.02, rel=0.2)


def test_too_few_tell_nothing() -> None:
    assert drawing_error(frames(0.02, 0.003, number=2)) == 0.0
    assert drawing_error([]) == 0.0
