"""Robust statistics against NumPy and random numbers."""

from __future__ import annotations

import numpy as np
import pytest

from plugins_builtin.engine.robust import clipped_variance, masked_median, masked_scale


@pytest.mark.parametrize("axis", [0, 1])
def test_masked_median_is_that_of_what_is_left(axis):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((7, 12))
    used = rng.random(values.shape) < 0.7
    expected = np.nanmedian(np.where(used, values, np.nan), axis=axis)
    np.testing.assert_allclose(masked_median(values, used, axis), expected)


def test_masked_median_of_nothing():
    used = np.array([[True, False], [True, False]])
    np.testing.assert_array_equal(masked_median(np.array([[1.0, 5.0], [3.0, 6.0]]), used, 0), [2.0, np.nan])


def test_scale_ignores_outliers():
    rng = np.random.default_rng(1)
    values = 3.0 * rng.standard_normal((4000, 1))
    values[:200] = 1e6
    # Five per cent of outliers move the median absolute deviation by as many per cent of its rank.
    assert masked_scale(values, np.ones(values.shape, bool), 0)[0] == pytest.approx(3.0, rel=0.12)


@pytest.mark.parametrize("limit", [1.5, 3.0])
def test_clipped_variance(limit):
    draws = np.random.default_rng(2).standard_normal(400_000)
    kept = draws[np.abs(draws) < limit]
    assert clipped_variance(limit) == pytest.approx(np.var(kept), rel=0.01)


def test_no_clipping_leaves_the_variance():
    assert clipped_variance(np.inf) == 1.0
