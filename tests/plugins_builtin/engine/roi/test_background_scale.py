"""The steps in which a region's background is searched: the inverse root of chi2's curvature by each small pixel."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from small_sky import small_sky

from lcframework.testing.regions import simulate
from plugins_builtin.engine.roi.geometry import prepare
from plugins_builtin.engine.roi.interpolation import align
from plugins_builtin.engine.roi.minimisation import _background_scale
from plugins_builtin.engine.roi.penalties import GaussianPriors, Strengths, Values
from plugins_builtin.engine.roi.starlet_objective import StarletObjective


def test_steps_are_the_inverse_root_of_the_curvature():
    cutouts, sources, _ = simulate(small_sky(1), 0, noise=False)
    epochs = prepare(cutouts, sources)
    alignment = align(epochs, np.zeros(2))
    none = np.zeros((0, 2))
    priors = GaussianPriors(none, none, alignment.translation, np.full((1, 2), np.inf))
    inverse_variance = np.random.default_rng(0).uniform(0.5, 2.0, epochs.variance.shape)
    objective = StarletObjective(epochs, alignment, inverse_variance, np.ones((5, 36, 36)), Strengths(), priors)
    values = Values(np.zeros((1, 0)), none, alignment.translation, np.zeros(1), np.zeros((36, 36)))
    curvature = _background_scale(objective) ** -2
    for y, x in ((18, 18), (8, 20), (24, 12)):
        true = []
        # The mean over a data pixel: the steps do not tell its small pixels apart, and random weights differ across it.
        for pixel in np.ndindex(2, 2):
            h = np.zeros((36, 36))
            h[y + pixel[0], x + pixel[1]] = 1.0
            image = objective.background(attrs.evolve(values, h=h))[0]
            true.append((inverse_variance[0] * image**2).sum())
        assert curvature[y : y + 2, x : x + 2].mean() == pytest.approx(np.mean(true), rel=0.03)
