"""A fit of many epochs, for which operators and derivatives are made anew each time: the same as with all held."""

from __future__ import annotations

import numpy as np
import pytest
from small_sky import small_sky

from lcframework.testing.regions import simulate
from plugins_builtin.engine.roi import coupling, operators
from plugins_builtin.engine.roi.coupling import Computed, Held
from plugins_builtin.engine.roi.eliminated import others
from plugins_builtin.engine.roi.geometry import prepare
from plugins_builtin.engine.roi.starred_fit import StarredSettings, fit_starred


@pytest.fixture(scope="module")
def solutions():
    """Return fits of epochs that are rotated, with everything held and with nothing held."""
    cutouts, sources, _ = simulate(small_sky(18, rotation=4.0), 1)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for size in (2**30, 0):
            patch.setattr(coupling, "_HELD", size)
            patch.setattr(operators, "_KEPT", size)
            settings = StarredSettings(iterations_translations=40, iterations_all=60)
            found.append(fit_starred(prepare(cutouts, sources), np.asarray(sources.offset, float), settings))
    return found


@pytest.mark.slow
def test_nothing_held_gives_the_same_fit(solutions):
    held, computed = solutions
    assert len(held.objective.used) > operators._CHUNK
    assert computed.history[-1] == pytest.approx(held.history[-1], rel=1e-7)
    np.testing.assert_allclose(computed.values.flux, held.values.flux, rtol=1e-6)
    assert len(held.objective.operators._kept) == 2
    assert computed.objective.operators._kept == {}


def test_derivatives_that_are_not_held_are_computed(solutions, monkeypatch):
    objective, values = solutions[0].objective, solutions[0].values
    monkeypatch.setattr(coupling, "_HELD", 2**30)
    held = others(objective, values, True)
    monkeypatch.setattr(coupling, "_HELD", 0)
    computed = others(objective, values, True)
    assert isinstance(held.coupling, Held)
    assert isinstance(computed.coupling, Computed)
    random = np.random.default_rng(2)
    h = random.normal(size=values.h.size)
    local = random.normal(size=held.covariance.shape[:2]) * np.sqrt(np.einsum("epp->ep", held.covariance))
    for expected, found in (
        (held.coupling.onto_h(local), computed.coupling.onto_h(local)),
        (held.coupling.from_h(h), computed.coupling.from_h(h)),
    ):
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(computed.positions_h, held.positions_h)
