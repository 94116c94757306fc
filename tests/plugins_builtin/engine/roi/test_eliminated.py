"""Unknowns that follow the background: their gradient stays as it was, to first order, when the background moves."""

from __future__ import annotations

import numpy as np
import pytest
from small_sky import small_sky

from lcframework.testing.regions import simulate
from plugins_builtin.engine.roi.eliminated import Eliminated
from plugins_builtin.engine.roi.geometry import prepare, to_pixels
from plugins_builtin.engine.roi.interpolation import align
from plugins_builtin.engine.roi.penalties import GaussianPriors, Strengths, Values
from plugins_builtin.engine.roi.starlet_objective import StarletObjective


@pytest.fixture(scope="module")
def problem() -> tuple[Eliminated, Values]:
    """Return the objective at the truth, without noise: there its second derivatives are those of the equations."""
    cutouts, sources, truth = simulate(small_sky(3, galaxies=(), rotation=0.0), 0, noise=False)
    epochs = prepare(cutouts, sources)
    alignment = align(epochs, np.zeros(2))
    c = to_pixels(epochs.transform[0], sources.offset) - 8.5
    translation = np.array([[0.0, 0.0], [-0.2, -0.4], [0.3, 0.15]])
    priors = GaussianPriors(c, np.full((2, 2), 1.0), translation, np.full((3, 2), 1.0))
    none = Strengths(scales=0.0, high_frequency=0.0, positivity=0.0, point_sources=0.0)
    weights = np.ones((5, 36, 36))
    objective = StarletObjective(epochs, alignment, 1 / epochs.variance, weights, none, priors, exact=True)
    values = Values(truth.flux, c, translation, np.zeros(3), np.zeros((36, 36)))
    epochs.data[:] = objective.model(values)
    return Eliminated(objective, values, True), values


@pytest.mark.parametrize("name", ["flux", "c", "translation", "sky"])
def test_the_gradient_by_what_follows_stays(problem, name):
    eliminated, values = problem
    y, x = np.mgrid[:36, :36] - 17.5
    h = 1e-3 * np.exp(-0.5 * ((x - 3) ** 2 + (y + 2) ** 2) / 9)
    held = Values(values.flux, values.c, values.translation, values.sky, h)
    before, after = (eliminated.smooth(v)[1] for v in (held, eliminated.stepped(values, h)))
    # The first epoch's translation, a whole number, is held.
    rows = slice(1, None) if name == "translation" else slice(None)
    left, moved = (np.abs(getattr(g, name)[rows]).max() for g in (after, before))
    assert left < 1e-3 * moved
