from __future__ import annotations

import numpy as np
import pytest

from plugins_builtin.engine.psf.outliers import Residuals, outlying_pixels, unlike_stars

STARS, N = 8, 20


@pytest.fixture
def scene():
    """Stars of one Gaussian PSF with unit noise and residuals of noise alone."""
    rng = np.random.default_rng(7)
    grid = np.arange(N) - 0.5 * (N - 1)
    profile = np.exp(-0.5 * (grid / 1.6) ** 2)
    amplitude = np.geomspace(30, 1500, STARS)
    model = amplitude[:, None, None] * np.outer(profile, profile)
    noise = np.sqrt(1 + model / 40)
    return Residuals(noise * rng.normal(size=model.shape), 1 / noise**2, model, amplitude)


def with_residual(scene, residual):
    return Residuals(residual, scene.inverse_variance, scene.model, scene.amplitude)


def test_noise_is_left_alone(scene):
    assert not outlying_pixels(scene, 5.0).any()
    np.testing.assert_allclose(scene.chi2, 1.0, atol=5 * np.sqrt(2 / N**2))
    assert not unlike_stars(scene, outlying_pixels(scene, 5.0), 5.0)


def test_cosmic_ray_is_found_with_its_fringe(scene):
    residual = scene.residual.copy()
    residual[2, 10, 10:13] += 12 / np.sqrt(scene.inverse_variance[2, 10, 10:13])
    residual[2, 11, 11] += 4 / np.sqrt(scene.inverse_variance[2, 11, 11])
    flagged = outlying_pixels(with_residual(scene, residual), 5.0)
    assert flagged[2, 10, 10:13].all()
    assert flagged[2, 11, 11]
    assert flagged.sum() <= 5


def test_what_all_stars_show_is_no_outlier(scene):
    """A PSF that the model has not reached yet leaves the same residual, in proportion, under every star."""
    shape = scene.model / scene.amplitude[:, None, None]
    residual = scene.residual + 0.1 * np.gradient(shape, axis=-1) * scene.amplitude[:, None, None]
    assert (abs(residual) * np.sqrt(scene.inverse_variance) > 5).sum() > 20
    assert outlying_pixels(with_residual(scene, residual), 5.0).sum() <= 2


def test_a_psf_that_changes_over_the_field_is_no_outlier(scene):
    """Each star has a misfit of its own in its core; none stands out against what the others have."""
    rng = np.random.default_rng(1)
    shape = scene.model / scene.amplitude[:, None, None]
    slopes = np.gradient(shape, axis=-1) * rng.normal(0, 0.15, size=(STARS, 1, 1))
    slopes = slopes + np.gradient(shape, axis=-2) * rng.normal(0, 0.15, size=(STARS, 1, 1))
    changed = with_residual(scene, scene.residual + slopes * scene.amplitude[:, None, None])
    flagged = outlying_pixels(changed, 5.0)
    assert flagged.sum() <= 0.005 * flagged.size
    assert not unlike_stars(changed, flagged, 5.0)


def test_a_star_alone_is_never_judged(scene):
    only = Residuals(
        *(part[:1] for part in (scene.residual + 50, scene.inverse_variance, scene.model, scene.amplitude))
    )
    assert not outlying_pixels(only, 5.0).any()
    assert not unlike_stars(only, np.ones((1, N, N), bool), 5.0)


def test_masked_pixels_are_not_flagged(scene):
    weight = scene.inverse_variance.copy()
    weight[3, 5, 5] = 0.0
    residual = scene.residual.copy()
    residual[3, 5, 5] = 1e6
    assert not outlying_pixels(Residuals(residual, weight, scene.model, scene.amplitude), 5.0).any()


def test_stars_unlike_the_others_are_named_with_reasons(scene):
    residual = scene.residual.copy()
    # A neighbour under the wings of one star: far too wide to be a cosmic ray, a quarter of its light.
    residual[4] += 0.25 * np.roll(scene.model[4], 4, axis=-1)
    bad = with_residual(scene, residual)
    flagged = outlying_pixels(bad, 5.0)
    reasons = unlike_stars(bad, np.zeros_like(flagged), 5.0)
    assert list(reasons) == [4]
    assert "reduced chi2" in reasons[4]


def test_at_least_half_and_three_stay(scene):
    residual = scene.residual.copy()
    residual[:6] += 0.5 * np.roll(scene.model[:6], 5, axis=-1)
    for count in (4, 8):
        some = Residuals(residual[:count], scene.inverse_variance[:count], scene.model[:count], scene.amplitude[:count])
        share = np.zeros((count, N, N), bool)
        share[: count // 2, :6] = True
        assert len(unlike_stars(some, share, 5.0)) <= min(count - 3, count // 2)
