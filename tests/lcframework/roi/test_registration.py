"""Registration of a frame by its stars: offsets, maps and outliers that were put in; errors that are true."""

from __future__ import annotations

import numpy as np
import pytest

from lcframework.roi.registration import FLOOR, STARS_FOR_MAP, register

REFERENCE = np.array([250.0, 260.0])


def scene(rng, n, offset, linear, error):
    predicted = rng.uniform(0, 500, (n, 2))
    sigma = np.broadcast_to(error, (n, 2)) * rng.uniform(0.5, 2.0, (n, 1))
    measured = predicted + offset + (predicted - REFERENCE) @ np.asarray(linear).T + rng.normal(0, sigma)
    return predicted, measured, sigma


def test_offset_and_map():
    rng = np.random.default_rng(0)
    linear = np.array([[1e-4, -3e-4], [3e-4, 2e-4]])
    predicted, measured, sigma = scene(rng, 20, [0.31, -0.17], linear, 1e-4)
    fit = register(predicted, measured, sigma, REFERENCE)
    np.testing.assert_allclose(fit.offset, [0.31, -0.17], atol=1e-3)
    np.testing.assert_allclose(fit.map, linear, atol=1e-5)
    assert fit.stars == 20


def test_few_stars_give_an_offset_alone():
    rng = np.random.default_rng(1)
    for n in (1, 2, STARS_FOR_MAP - 1):
        predicted, measured, sigma = scene(rng, n, [0.3, -0.2], np.zeros((2, 2)), 0.01)
        fit = register(predicted, measured, sigma, REFERENCE)
        np.testing.assert_allclose(fit.offset, [0.3, -0.2], atol=0.1)
        np.testing.assert_array_equal(fit.map, 0)
        assert (np.diag(fit.covariance) > 0).all()


def test_no_star():
    fit = register(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2)), REFERENCE)
    np.testing.assert_array_equal(fit.offset, 0)
    np.testing.assert_array_equal(fit.covariance, np.eye(2))


@pytest.mark.parametrize("n", [5, 12])
def test_covariance_is_true(n):
    rng = np.random.default_rng(2)
    pulls = []
    for _ in range(400):
        predicted, measured, sigma = scene(rng, n, [0.2, 0.1], np.zeros((2, 2)), 0.02)
        fit = register(predicted, measured, sigma, REFERENCE)
        pulls.append((fit.offset - [0.2, 0.1]) / np.sqrt(np.diag(fit.covariance)))
    # Never too small; with few stars the inflation by a large chi2 makes it somewhat large.
    assert 0.75 < np.std(pulls) < 1.12
    assert abs(np.mean(pulls)) < 0.12


@pytest.mark.parametrize("n", [5, 15])
def test_outliers_do_no_harm(n):
    rng = np.random.default_rng(3)
    pulls = []
    for _ in range(200):
        predicted, measured, sigma = scene(rng, n, [0.2, 0.1], np.zeros((2, 2)), 0.01)
        measured[0] += [3.0, -2.0]
        if n > 10:
            measured[1] += [0.4, 0.4]
        fit = register(predicted, measured, sigma, REFERENCE)
        pulls.append((fit.offset - [0.2, 0.1]) / np.sqrt(np.diag(fit.covariance)))
    assert np.std(pulls) < 1.4
    assert np.abs(pulls).max() < 8


def test_transform_is_corrected():
    rng = np.random.default_rng(4)
    linear = np.array([[2e-4, 1e-4], [-1e-4, 3e-4]])
    predicted, measured, sigma = scene(rng, 30, [0.5, -0.25], linear, 1e-4)
    fit = register(predicted, measured, sigma, REFERENCE)
    transform = np.array([[-5.0, 0.1, REFERENCE[0]], [0.1, 5.0, REFERENCE[1]]])
    corrected = fit.apply(transform)
    offset = np.array([1.5, -2.0])
    before = transform[:, :2] @ offset + transform[:, 2]
    expected = before + [0.5, -0.25] + linear @ (before - REFERENCE)
    np.testing.assert_allclose(corrected[:, :2] @ offset + corrected[:, 2], expected, atol=2e-3)


def test_each_axis_has_its_own_errors():
    """Few stars give the weighted mean of each axis, by the errors of that axis."""
    offset = np.array([0.3, -0.2])
    error = np.array([[0.01, 0.05], [0.02, 0.02], [0.05, 0.01], [0.03, 0.04]])
    noise = np.array([[0.5, -0.8], [-0.9, 0.4], [1.1, 0.9], [-0.3, -1.0]]) * error
    predicted = np.array([[10.0, 400.0], [300.0, 20.0], [200.0, 250.0], [450.0, 330.0]])
    fit = register(predicted, predicted + offset + noise, error, REFERENCE)
    weight = 1 / (error**2 + FLOOR**2)
    np.testing.assert_allclose(fit.offset, offset + (weight * noise).sum(axis=0) / weight.sum(axis=0), atol=1e-9)
    np.testing.assert_allclose(np.diag(fit.covariance), 1 / weight.sum(axis=0), rtol=1e-9)


def test_covariance_of_stars_that_scatter_beyond_their_errors():
    """It is that of their true scatter: on average over many frames, for few degrees of freedom."""
    rng = np.random.default_rng(6)
    n, beyond, ratios = 10, 5.0, []
    for _ in range(400):
        predicted, _, sigma = scene(rng, n, [0.2, 0.1], np.zeros((2, 2)), 0.02)
        scatter = beyond * np.sqrt(sigma**2 + FLOOR**2)
        measured = predicted + np.array([0.2, 0.1]) + rng.normal(0, scatter)
        design = np.concatenate([np.ones((n, 1)), predicted - REFERENCE], axis=1)
        true = [np.linalg.inv(design.T @ (design / s[:, None] ** 2))[0, 0] for s in scatter.T]
        ratios.append(np.diag(register(predicted, measured, sigma, REFERENCE).covariance) / true)
    # Each is a chi2 of 7 degrees of freedom over 7.
    assert np.mean(ratios) == pytest.approx(1.0, abs=4 * np.sqrt(2 / 7 / 800))
