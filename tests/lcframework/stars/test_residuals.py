"""What a normalization leaves of the stars' fluxes."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from lcframework.stars.residuals import extra_scatter, residual_rows, residuals
from lcframework.types import FitState, FitStatus, FluxMatrix, NormalizationSolution
from plugins_builtin.normalizations.ensemble import Ensemble


def sky(seed, frames=60, stars=8, scatter=0.003):
    rng = np.random.default_rng(seed)
    true = np.exp(0.2 * rng.standard_normal((frames, 1))) * 10 ** rng.uniform(2.5, 4, stars)
    error = true / 300
    flux = true * (1 + scatter * rng.standard_normal(true.shape)) + error * rng.standard_normal(true.shape)
    return FluxMatrix(flux, error, rng.uniform(0, 500, (frames, stars, 2)), (500, 500))


def solution(flux, used, **changes):
    f, n = flux.shape
    return attrs.evolve(
        NormalizationSolution(
            np.ones(f), np.full(f, 0.01), np.zeros(f), np.full(n, 100.0), np.full(n, 1.0), np.full(n, 0.03), used,
            FitStatus(FitState.CONVERGED),
        ),
        **changes,
    )  # fmt: skip


def test_pulls_are_those_of_a_unit_normal():
    pull = []
    for seed in range(10):
        fluxes = sky(seed)
        value, error = residuals(Ensemble().solve(fluxes), fluxes)
        pull.append(value / error)
    assert 0.97 < np.std(pull) < 1.03


def test_stars_that_outweigh_the_others_have_true_pulls_too():
    pull = []
    for seed in range(20):
        fluxes = sky(seed, stars=3)
        fluxes.flux[::2, 0] = np.nan
        fluxes.error[:, 2] *= 10
        fluxes.flux[:, 2] *= 1 + 0.03 * np.random.default_rng(seed).standard_normal(60)
        value, error = residuals(Ensemble().solve(fluxes), fluxes)
        pull.append((value / error)[np.isfinite(value)])
    assert 0.9 < np.std(np.concatenate(pull)) < 1.1


def test_a_flux_that_was_not_used_has_the_means_error_too():
    flux = np.full((2, 3), 110.0)
    used = np.array([[True, True, True], [True, True, False]])
    value, error = residuals(solution(flux, used), FluxMatrix(flux, np.full((2, 3), 4.0), np.zeros((2, 3, 2)), (9, 9)))
    np.testing.assert_allclose(value, 0.1)
    own = (4.0 / 100.0) ** 2 + 0.03**2
    assert error[0, 0] == pytest.approx(np.sqrt(own * (1 - 1 / 3) * (1 - 1 / 2)))
    assert error[1, 2] == pytest.approx(np.sqrt(own + 2 * 0.01**2))


def test_the_plugins_own_model_goes_first():
    flux = np.full((2, 2), 110.0)
    found = solution(flux, np.ones((2, 2), bool), model=np.array([[110.0, 55.0], [np.nan, 110.0]]))
    value, _ = residuals(found, FluxMatrix(flux, flux / 50, np.zeros((2, 2, 2)), (9, 9)))
    np.testing.assert_allclose(value, [[0.0, 1.0], [0.1, 0.0]], atol=1e-12)


def test_rows_say_why_a_flux_was_not_used():
    flux = np.array([[100.0, 100.0, 100.0, np.nan], [100.0, 100.0, 100.0, 100.0]])
    used = np.array([[True, False, False, False], [False, False, False, False]])
    found = solution(flux, used, rejected={2: "variable"})
    fluxes = FluxMatrix(flux, flux / 50, np.zeros((2, 4, 2)), (9, 9))
    good = np.array([[True, True, True, False], [False] * 4])
    rows = residual_rows(found, fluxes, list("abcd"), np.array([True, False]), good)
    said = {(i, r["gaia_id"]): r["comment"] for i, r in rows}
    assert said[0, "a"] == ""
    assert "sigma_clip" in said[0, "b"]
    assert "star_levels" in said[0, "c"]
    assert "psf_chi2" in said[1, "a"]
    assert (0, "d") not in said  # not measured
    good[0, 1] = False
    rows = residual_rows(found, fluxes, list("abcd"), np.array([True, False]), good)
    assert "flux_chi2" in next(r["comment"] for i, r in rows if (i, r["gaia_id"]) == (0, "b"))


def test_a_plugin_that_knows_no_extra_scatter():
    assert extra_scatter(solution(np.ones((2, 2)), np.ones((2, 2), bool))) == [0.0, 0.0]
    with_it = solution(np.ones((2, 2)), np.ones((2, 2), bool), extra_scatter=np.array([0.01, np.nan]))
    assert extra_scatter(with_it) == [0.01, 0.0]
