"""Residuals within apertures: areas, variances against random draws, and shares."""

from __future__ import annotations

import numpy as np
import pytest

from plugins_builtin.engine.residual_light import above_surroundings, apertures, residual_light, shared_out


@pytest.mark.parametrize("radius", [2.5, 4.0, 6.0])
def test_apertures_have_a_disc_s_area_wherever_they_lie(radius):
    places = np.random.default_rng(1).uniform(-0.5, 0.5, (20, 2))
    discs = apertures(places, (17, 18), radius)
    assert discs.shape == (20, 17, 18)
    np.testing.assert_allclose(discs.sum(axis=(1, 2)), np.pi * radius**2, rtol=0.02)
    y, x = np.mgrid[:17, :18]
    moments = np.stack([(discs * (x - 8.5)).sum((1, 2)), (discs * (y - 8.0)).sum((1, 2))], axis=1)
    centroid = moments / discs.sum((1, 2))[:, None]
    np.testing.assert_allclose(centroid, places, atol=0.04)


@pytest.mark.parametrize("constant", [False, True])
def test_variance_is_that_of_the_sums_after_a_fit_and_uncorrelated_with_it(constant):
    rng = np.random.default_rng(2)
    n, size = 4000, 12
    y, x = np.mgrid[:size, :size] - 5.5
    source = np.exp(-(x**2 + y**2) / 3)
    images = np.stack([source / source.sum(), np.ones_like(source)])[: 2 if constant else 1]
    sigma = np.sqrt(1.0 + 0.02 * 500 * images[0]) * np.where(x > 0, 1.5, 1.0)
    weight = sigma**-2.0
    weight[4, 5] = weight[5, 6] = weight[9, 2] = 0.0
    noise = sigma * rng.standard_normal((n, size, size))
    design = images.reshape(len(images), -1)
    normal = design @ (weight.ravel()[:, None] * design.T)
    fitted = np.linalg.solve(normal, design @ (weight.ravel()[:, None] * noise.reshape(n, -1).T)).T
    residual = noise - (fitted @ design).reshape(noise.shape)
    disc = apertures(np.zeros((1, 2)), (size, size), 4.0)
    if constant:
        disc = above_surroundings(disc, weight[None])
    each = np.broadcast_to(disc, noise.shape)
    total, variance = residual_light(
        residual, np.broadcast_to(weight, noise.shape), each, np.broadcast_to(images, (n, *images.shape))
    )
    assert abs(total.mean()) < 4 * np.sqrt(variance[0] / n)
    assert total.var() == pytest.approx(variance[0], rel=4 * np.sqrt(2 / n))
    assert abs(np.corrcoef(total, fitted[:, 0])[0, 1]) < 4 / np.sqrt(n)


def test_surroundings_take_off_any_constant():
    rng = np.random.default_rng(3)
    weight = rng.uniform(0.5, 2.0, (2, 15, 15)) * (rng.uniform(size=(2, 15, 15)) > 0.1)
    counted = above_surroundings(apertures(np.zeros((2, 2)), (15, 15), 4.0), weight)
    np.testing.assert_allclose(np.sum(np.where(weight > 0, counted, 0.0), axis=(1, 2)), 0.0, atol=1e-12)
    nothing = above_surroundings(np.ones((1, 5, 5)), np.ones((1, 5, 5)))
    np.testing.assert_array_equal(nothing, 1.0)


def test_what_is_masked_counts_as_the_model_says():
    residual = np.ones((1, 9, 9))
    weight = np.ones((1, 9, 9))
    weight[0, 4, 4] = 0.0
    total, variance = residual_light(residual, weight, np.ones((1, 9, 9)), np.zeros((1, 1, 9, 9)))
    assert total[0] == 80.0
    assert variance[0] == 80.0


def test_a_source_alone_gets_everything_however_faint():
    for flux in (1000.0, 0.0, -3.0):
        new, covariance = shared_out(np.array([flux]), np.array([[4.0]]), 0.0, 2.5, 9.0)
        assert new[0] == pytest.approx(flux + 2.5)
        assert covariance[0, 0] == pytest.approx(13.0)


def test_a_psf_that_misses_a_part_of_all_light_scales_all_sources():
    flux, galaxy = np.array([600.0, 300.0, np.nan]), 100.0
    covariance = np.diag([1.0, 1.0, np.nan])
    new, widened = shared_out(flux, covariance, galaxy, 0.02 * 1000.0, 25.0)
    np.testing.assert_allclose(new[:2], 1.02 * flux[:2], rtol=1e-5)
    assert np.isnan(new[2])
    np.testing.assert_allclose(widened[:2, :2], np.eye(2) + 25.0 * np.outer([0.6, 0.3], [0.6, 0.3]), rtol=1e-4)
