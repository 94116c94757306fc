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
