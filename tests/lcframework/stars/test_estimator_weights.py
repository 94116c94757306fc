"""Weights of flux estimates: the least variance, who is better by brightness, and when nothing can be chosen."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lcframework.stars.ensemble_residuals import ensemble_curves
from lcframework.stars.estimator_weights import choose_weights, least_variance
from lcframework.types.robust import finite_median


def estimates(frames: int, flux: np.ndarray, psf_scatter: float, rng: np.random.Generator) -> np.ndarray:
    """Return relative residuals (f, n, 3): a PSF with a scatter of its own, and two discs with more noise."""
    n = len(flux)
    photon = np.sqrt(1 / flux) * rng.standard_normal((frames, n))
    sky = 30.0 / flux * rng.standard_normal((frames, n))
    psf = photon + sky + psf_scatter * rng.standard_normal((frames, n))
    small = photon + 2 * sky + 60.0 / flux * rng.standard_normal((frames, n))
    large = small + 150.0 / flux * rng.standard_normal((frames, n))
    return np.stack([psf, small, large], axis=2)


def test_least_variance_is_that_of_all_allowed_weights():
    rng = np.random.default_rng(3)
    for _ in range(20):
        factor = rng.standard_normal((3, 3))
        covariance = factor @ factor.T + 0.05 * np.eye(3)
        found = least_variance(covariance)
        assert found.min() >= 0
        assert found.sum() == pytest.approx(1.0)
        grid = np.array([(a, b, 100 - a - b) for a, b in itertools.product(range(101), repeat=2) if a + b <= 100]) / 100
        assert found @ covariance @ found <= np.einsum("ni,ij,nj->n", grid, covariance, grid).min() + 1e-9


def test_each_brightness_has_what_is_better_there_on_frames_that_took_no_part():
    rng = np.random.default_rng(1)
    flux = np.geomspace(3e3, 3e5, 40)
    choice = choose_weights(estimates(60, flux, 0.01, rng), np.log(flux))
    assert choice is not None
    table = np.stack([np.interp(np.log(flux), choice.log_flux, w) for w in choice.weights.T], axis=1)
    assert table[-8:, 1].min() > 0.5  # bright: the disc, which has no scatter beyond its noise
    assert table[:5, 0].min() > 0.5  # faint: the PSF
    new = estimates(2000, flux, 0.01, rng)
    scatter = np.std(np.einsum("fnk,nk->fn", new, table), axis=0)
    single = np.std(new, axis=0).min(axis=1)
    assert np.mean(scatter / single) < 1.01
    assert (scatter / single).max() < 1.15


def test_a_psf_that_is_right_stays_alone():
    rng = np.random.default_rng(2)
    flux = np.geomspace(3e3, 3e4, 12)
    choice = choose_weights(estimates(20, flux, 0.0, rng), np.log(flux))
    assert choice is not None
    np.testing.assert_array_equal(choice.weights, np.tile([1.0, 0.0, 0.0], (len(choice.weights), 1)))


def test_sources_much_fainter_than_all_stars_have_the_psf():
    flux = np.geomspace(1e5, 1e6, 15)
    choice = choose_weights(estimates(30, flux, 0.03, np.random.default_rng(4)), np.log(flux))
    assert choice is not None
    np.testing.assert_array_equal(choice.weights[0], [1.0, 0.0, 0.0])
    assert choice.log_flux[0] < np.log(0.35e5)
    assert choice.weights[1:, 0].max() < 0.2


@pytest.mark.parametrize(("frames", "stars"), [(1, 30), (4, 30), (30, 3)])
def test_too_few_stars_or_frames_choose_nothing(frames, stars):
    flux = np.geomspace(1e4, 1e5, stars)
    assert choose_weights(estimates(frames, flux, 0.05, np.random.default_rng(5)), np.log(flux)) is None


def test_curves_against_the_others_have_the_frames_transparency_and_no_outlier():
    rng = np.random.default_rng(6)
    level, transparency = np.geomspace(1e3, 1e5, 25), rng.uniform(0.3, 1.2, 40)
    flux = transparency[:, None] * level * (1 + 0.01 * rng.standard_normal((40, 25)))
    flux[7, 3] *= 3.0
    flux[11, 5] = np.nan
    curves = ensemble_curves(flux)
    np.testing.assert_allclose(curves.transparency, transparency / np.median(transparency), rtol=0.02)
    assert np.std(curves.residual[np.abs(curves.residual) < 0.1]) == pytest.approx(0.01, rel=0.1)
    assert curves.residual[7, 3] == pytest.approx(2.0, abs=0.1)
    assert np.isnan(curves.residual[11, 5])


def test_median_leaves_out_what_is_not_finite():
    values = np.array([[1.0, np.nan], [3.0, np.inf], [np.nan, np.nan], [5.0, 2.0]])
    np.testing.assert_array_equal(finite_median(values, 0), [3.0, 2.0])
    assert np.isnan(finite_median(np.full((3, 1), np.nan), 0)).all()
