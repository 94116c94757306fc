"""The reduced normal equations against those of all parameters at once, with a Jacobian by differences."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from lcframework.types import Floats
from plugins_builtin.engine.normalization.flux_table import EnsembleState, FluxTable
from plugins_builtin.engine.normalization.normal_equations import linearise, variance_at_reference

FRAMES, STARS, TERMS, SHARED = 7, 5, 3, 5


def problem(seed: int = 1) -> tuple[FluxTable, EnsembleState]:
    rng = np.random.default_rng(seed)
    place = rng.uniform(-1, 1, (STARS, 2)) + np.linspace(0, 0.5, FRAMES)[:, None, None]
    x, y = np.moveaxis(place, -1, 0)
    reference = np.linspace(0, 0.5, FRAMES)[:, None] + [[0.1, 0.1]]
    u, v = reference.T
    table = FluxTable(
        flux=rng.uniform(50, 150, (FRAMES, STARS)),
        variance=rng.uniform(1, 9, (FRAMES, STARS)),
        valid=np.ones((FRAMES, STARS), bool),
        basis=np.stack([np.ones_like(x), x - u[:, None], y - v[:, None]], axis=-1),
        shared=np.stack([x, y, x * x, x * y, y * y], axis=-1),
        shared_at_reference=np.stack([u, v, u * u, u * v, v * v], axis=-1),
        prior=0.1,
    )
    state = EnsembleState(
        terms=np.concatenate([rng.uniform(0.8, 1.2, (FRAMES, 1)), rng.normal(0, 0.05, (FRAMES, 2))], axis=1),
        prior=0.07,
        response=rng.normal(0, 0.05, SHARED),
        response_prior=0.04,
        log_level=np.log(rng.uniform(80, 120, STARS)),
        star_variance=rng.uniform(0, 1e-4, STARS),
        frame_variance=rng.uniform(0, 1e-4, FRAMES),
        used=rng.random((FRAMES, STARS)) < 0.85,
    )
    return table, state


def unpacked(state: EnsembleState, p: Floats) -> EnsembleState:
    terms, level, response = np.split(p, [FRAMES * TERMS, FRAMES * TERMS + STARS])
    return attrs.evolve(state, terms=terms.reshape(FRAMES, TERMS), log_level=level, response=response)


def model(table: FluxTable, state: EnsembleState) -> Floats:
    seen = np.einsum("fnk,fk->fn", table.basis, state.terms)
    return np.asarray(seen * np.exp(state.log_level) * np.exp(table.shared @ state.response))


@pytest.fixture(name="whole")
def fixture_whole() -> dict[str, Floats]:
    table, state = problem()
    at = np.concatenate([state.terms.ravel(), state.log_level, state.response])
    here, step = model(table, state), 1e-5
    columns = []
    for k in range(len(at)):
        up, down = at.copy(), at.copy()
        up[k] += step
        down[k] -= step
        columns.append((model(table, unpacked(state, up)) - model(table, unpacked(state, down))).ravel() / (2 * step))
    jacobian = np.stack(columns, axis=1)
    scatter = state.star_variance + state.frame_variance[:, None]
    variance = table.variance + here**2 * scatter
    weight = np.where(state.used, 1 / variance, 0).ravel()
    precision = np.zeros(len(at))
    of_frames = np.zeros((FRAMES, TERMS))
    of_frames[:, 1:] = 1 / (state.prior * state.terms[:, :1]) ** 2
    precision[: FRAMES * TERMS] = of_frames.ravel()
    precision[-SHARED:] = 1 / state.response_prior**2
    system = jacobian.T @ (weight[:, None] * jacobian) + np.diag(precision)
    information = np.sum(np.where(state.used, here**2 / variance, 0), axis=0)
    gauge = np.zeros(len(at))
    gauge[FRAMES * TERMS : FRAMES * TERMS + STARS] = information
    stiff = 1e4 * information.max() * np.outer(gauge, gauge) / (gauge @ gauge)
    covariance = np.linalg.inv(system + stiff)
    gradient = jacobian.T @ (weight * (table.flux - here).ravel()) - precision * at
    return {"step": covariance @ gradient, "covariance": covariance, "jacobian": jacobian, "variance": variance}


def test_the_step_is_that_of_all_parameters(whole: dict[str, Floats]) -> None:
    found = linearise(*problem())
    step = np.concatenate([found.step_terms.ravel(), found.step_log_level, found.step_response])
    np.testing.assert_allclose(step, whole["step"], rtol=1e-4, atol=1e-7)


def test_variances_and_leverages_are_those_of_all_parameters(whole: dict[str, Floats]) -> None:
    found = linearise(*problem())
    diagonal = np.diag(whole["covariance"])
    np.testing.assert_allclose(found.term_variance.ravel(), diagonal[: FRAMES * TERMS], rtol=1e-4)
    np.testing.assert_allclose(found.response_variance, diagonal[-SHARED:], rtol=1e-4)
    of_model = np.einsum("ik,kl,il->i", whole["jacobian"], whole["covariance"], whole["jacobian"])
    np.testing.assert_allclose(found.leverage.ravel(), of_model / whole["variance"].ravel(), rtol=1e-4)


def test_the_variance_of_a_coefficient_is_that_at_the_reference(whole: dict[str, Floats]) -> None:
    """Of differences of logarithms between frames, for the mode that all have in common is left out."""
    table, state = problem()
    found = linearise(table, state)
    derivative = np.zeros((FRAMES, len(whole["step"])))
    frames = np.arange(FRAMES)
    derivative[frames, frames * TERMS] = 1 / state.terms[:, 0]
    derivative[:, -SHARED:] = table.shared_at_reference
    exact = derivative @ whole["covariance"] @ derivative.T
    relative = variance_at_reference(table, state, found) / state.terms[:, 0] ** 2
    differences = np.array([[exact[i, i] + exact[j, j] - 2 * exact[i, j] for j in frames] for i in frames])
    stated = relative[:, None] + relative
    of_pairs = ~np.eye(FRAMES, dtype=bool)
    # Errors are stated as if frames were independent of each other, which they nearly are.
    assert np.mean(differences[of_pairs]) == pytest.approx(np.mean(stated[of_pairs]), rel=0.1)
