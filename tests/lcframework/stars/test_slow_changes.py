"""Slow changes of stars beyond their errors, against simulated ones."""

from __future__ import annotations

import numpy as np
import pytest

from lcframework.stars.slow_changes import FEWEST_STARS, slow_scatter


def stars(size: float, seed: int = 1, frames: int = 100, number: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return residuals of stars, bright and faint, that change slowly, their errors, and which took part."""
    rng = np.random.default_rng(seed)
    error = np.broadcast_to(np.geomspace(0.001, 0.02, number), (frames, number))
    turns = np.linspace(0, 1, frames)[:, None] * rng.uniform(1, 4, number) + rng.uniform(0, 1, number)
    residual = error * rng.standard_normal(error.shape) + size * np.sqrt(2) * np.sin(2 * np.pi * turns)
    used = rng.random(error.shape) < 0.9
    return residual - np.mean(residual, axis=0, where=used), np.hypot(error, size), used


@pytest.mark.parametrize("size", [0.002, 0.006, 0.02])
def test_it_is_that_of_the_stars(size: float) -> None:
    found = [slow_scatter(*stars(size, seed)) for seed in range(10)]
    # Sines of some turns are not quite their mean; 30 stars tell the scatter of the noise to 0.3 ppt.
    assert np.mean(found) == pytest.approx(size, rel=0.06)
    assert np.std(found) < 0.05 * size + 1e-4


def test_photon_noise_alone_is_none() -> None:
    assert [slow_scatter(*stars(0.0, seed)) for seed in range(40)].count(0.0) >= 38


def test_what_is_independent_from_frame_to_frame_has_no_part_in_it() -> None:
    rng = np.random.default_rng(4)
    residual, error, used = stars(0.0)
    more = np.hypot(error, 0.02)
    assert slow_scatter(residual + 0.02 * rng.standard_normal(error.shape), more, used) == 0.0


def test_neither_a_variable_star_nor_an_outlier_is_a_slow_change_of_all() -> None:
    residual, error, used = stars(0.003)
    without = slow_scatter(residual, error, used)
    residual[:, 0] += 0.2 * np.sin(np.linspace(0, 6, len(residual)))
    error = error.copy()
    error[:, 0] = 0.15
    residual[7, 3] = residual[8, 3] = 5.0
    assert slow_scatter(residual, error, used) == pytest.approx(without, rel=0.15)


def test_few_stars_tell_nothing() -> None:
    residual, error, used = stars(0.01)
    few = FEWEST_STARS - 1
    assert slow_scatter(residual[:, :few], error[:, :few], used[:, :few]) is None
    assert slow_scatter(residual[:6], error[:6], used[:6]) is None
