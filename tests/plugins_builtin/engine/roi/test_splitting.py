"""The splitting's few epochs that stand for all: the same minimum, by the whole objective's own gradient."""

from __future__ import annotations

import numpy as np
import pytest
from small_sky import small_sky

from lcframework.testing.regions import simulate
from plugins_builtin.engine.roi import splitting as roi_splitting
from plugins_builtin.engine.roi.geometry import prepare
from plugins_builtin.engine.roi.newton import covariances
from plugins_builtin.engine.roi.splitting import Descent, Metric
from plugins_builtin.engine.roi.starred_fit import StarredSettings, fit_starred


@pytest.fixture(scope="module")
def solution():
    cutouts, sources, _ = simulate(small_sky(13, rotation=0.0), 1)
    return fit_starred(prepare(cutouts, sources), np.asarray(sources.offset, float), StarredSettings(iterations_all=20))


def test_a_sample_s_gradient_is_the_whole_s_where_it_was_corrected(solution):
    descent = Descent(solution.objective, solution.values, True)
    assert len(descent.sample.rows) == 6
    gradient = descent.whole.smooth(solution.values)[1]
    sample, slope = descent.sample, descent.whole.reduced(gradient)[2]
    sample.correct(solution.values, descent.whole, gradient)
    own = sample.gradient(sample.of(solution.values))
    np.testing.assert_allclose(sample.part.reduced(own)[2], slope, atol=1e-4 * np.abs(slope).max())
    by_c = descent.whole.by_positions(gradient)
    np.testing.assert_allclose(sample.part.by_positions(own), by_c, atol=1e-6 * np.abs(gradient.c).max())


@pytest.mark.slow
def test_epochs_that_stand_for_all_lead_as_far_as_all(solution, monkeypatch):
    """By a twentieth of the evaluations, in as many steps."""
    sampled = Descent(solution.objective, solution.values, True)
    found = sampled.run(400)
    monkeypatch.setattr(roi_splitting, "_SAMPLED", 100)
    monkeypatch.setattr(roi_splitting, "_GAIN", 0.0)
    whole = Descent(solution.objective, solution.values, True)
    assert whole.sample is None
    expected = whole.run(sampled.steps)
    assert len(sampled.history) < 0.06 * len(whole.history)
    # Half of chi2, after a gain of eighty: what a tenth moves is far below the errors.
    assert min(sampled.history) == pytest.approx(min(whole.history), abs=0.1)
    # Along the valley between sources and background both creep: what the background leaves open is the measure.
    random, common, _ = covariances(solution.joint.found, 2)
    error = np.sqrt(np.einsum("ekk->ek", random + common))
    assert np.all(np.abs(found.flux - expected.flux) < 0.2 * error)


@pytest.mark.slow
def test_a_fit_whose_steps_overshoot_goes_on_with_shorter_ones(solution, monkeypatch):
    monkeypatch.setattr(roi_splitting, "_SAMPLED", 100)
    monkeypatch.setattr(roi_splitting, "_ABOVE", 0.3)  # below the curvature: the first steps diverge
    descent = Descent(solution.objective, solution.values, True)
    best = descent.run(400)
    assert descent.above > 0.3
    first = descent.history[0]
    assert min(descent.history) < first
    assert solution.objective.value(best) == pytest.approx(min(descent.history), rel=1e-6)


def test_the_metric_inverts_itself_less_what_sources_undo(solution):
    """Against the dense matrix of its definition."""
    rng = np.random.default_rng(1)
    n = solution.alignment.size
    undone = rng.normal(size=(3, n, n))
    part = np.array([1.0, 0.9, 0.5])
    metric = Metric(solution.objective, undone, part, 2.0, np.full(5, 3.0), 0.1)
    plain = Metric(solution.objective, np.zeros((0, n, n)), np.zeros(0), 2.0, np.full(5, 3.0), 0.1)
    step = rng.normal(size=(n, n))
    total = np.fft.irfft2(np.fft.rfft2(step) * plain.total, (n, n))
    gradient = total - np.tensordot(np.tensordot(metric.undone, step, 2), metric.undone, 1)
    np.testing.assert_allclose(metric.solve(gradient), step, atol=1e-8 * np.abs(step).max())
