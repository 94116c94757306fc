"""Robust statistics, of the core and of the engine."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.stats import mad_std

from lcframework.types import robust as core
from plugins_builtin.engine import robust as engine


@pytest.mark.parametrize("robust", [core, engine], ids=["core", "engine"])
def test_the_scatter_is_astropys_and_outliers_do_not_move_it(robust):
    values = np.random.default_rng(1).normal(3.0, 2.0, 1001)
    assert robust.robust_scatter(values) == pytest.approx(mad_std(values), rel=1e-12)
    about_zero = robust.scatter_about_zero(values - 3.0)
    values[:50] = 1e6
    assert robust.robust_scatter(values) == pytest.approx(2.0, rel=0.15)
    assert about_zero == pytest.approx(2.0, rel=0.1)
    assert np.isnan(robust.robust_scatter(np.zeros(0)))


def _near_the_mean(values):
    def fit(used):
        mean = values[used].mean()
        return mean, np.abs(values - mean) <= 3.0

    return fit


def test_a_fit_is_made_again_without_outliers():
    values = np.array([0.0, 1.0, 2.0, 8.0, 100.0])
    everything = np.ones(5, bool)
    mean, used = core.clip_and_refit(_near_the_mean(values), np.array([True, True, True, False, False]), 2, 9)
    assert (mean, used.tolist()) == (1.0, [True, True, True, False, False])
    for clip in (lambda fit, fewest: core.clip_and_refit(fit, everything, fewest, 9),
                 lambda fit, fewest: engine.clip_and_refit(fit, everything, fewest)):  # fmt: skip
        mean, used = clip(_near_the_mean(values), 1)  # nothing is near the mean of all: that fit is the answer
        assert mean == values.mean()
        assert used.all()


def test_what_was_left_out_may_come_back_in_the_core_alone():
    values = np.array([0.0, 2.0, 4.0, 4.5])
    start = np.array([True, True, False, False])
    assert core.clip_and_refit(_near_the_mean(values), start, 1, 9)[1].all()
    assert engine.clip_and_refit(_near_the_mean(values), start, 1)[1].tolist() == start.tolist()
