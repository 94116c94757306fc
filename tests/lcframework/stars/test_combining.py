"""Combined fluxes: one scale for all estimates of a frame, true errors, and fluxes where nothing is chosen."""

from __future__ import annotations

import numpy as np
import pytest

from lcframework.stars.combining import RADII, StarEstimates, combine
from lcframework.stars.ensemble_residuals import ensemble_curves
from lcframework.stars.estimator_errors import error_terms

SKY = 20.0  # e-/s, noise of a flux by the PSF


def sky(frames: int, stars: int, seed: int, psf_scatter: float) -> tuple[StarEstimates, np.ndarray, np.ndarray]:
    """Return estimates of stars that only the PSF measures badly; and the transparency and the stars' levels."""
    rng = np.random.default_rng(seed)
    level, transparency = np.geomspace(3e3, 3e5, stars), rng.uniform(0.5, 1.0, frames)
    flux = transparency[:, None] * level
    missed = 0.05 * rng.standard_normal((frames, 1)) + psf_scatter * rng.standard_normal((frames, stars))
    noise = np.sqrt(SKY**2 + flux / 50)
    psf = flux * (1 - missed) + noise * rng.standard_normal(flux.shape)
    area = np.array(RADII) ** 2
    steps = np.sqrt(np.diff(area, prepend=0.0)) * SKY
    light = (flux * missed)[..., None] + np.cumsum(steps * rng.standard_normal((*flux.shape, len(area))), axis=2)
    covariance = np.minimum(area[:, None], area) * SKY**2
    radii = 2.0 * np.tile(RADII, (frames, 1))
    given = StarEstimates(psf, noise**2, light, np.broadcast_to(covariance, (*flux.shape, 6, 6)), radii)
    return given, transparency, level


def test_bright_stars_gain_and_all_errors_are_true():
    given, transparency, level = sky(80, 40, 1, 0.02)
    found = combine(given)
    true = transparency[:, None] * level
    # What all stars of a frame share by the PSF stays a property of the frame, for bright stars and faint ones.
    shared = np.median(given.psf_flux / true, axis=1)
    relative = found.flux / true / shared[:, None]
    bright = level > 1e5
    assert np.std(relative[:, bright]) < 0.4 * np.std((given.psf_flux / true / shared[:, None])[:, bright])
    residual = ensemble_curves(found.flux).residual
    for half in (bright, ~bright):
        pull = residual[:, half] * true[:, half] * shared[:, None] / found.error[:, half]
        assert np.std(pull) == pytest.approx(1.0, abs=0.12)
    assert found.psf_scatter == pytest.approx(0.02, rel=0.2)
    assert "disc" in found.note
    assert found.scores["combination"][0] < found.scores["psf"][0]


def test_estimates_are_on_the_scale_of_psf_fluxes():
    given, transparency, level = sky(40, 30, 2, 0.02)
    found = combine(given)
    np.testing.assert_array_equal(found.scale[:, 0], 1.0)
    shared = np.median(given.psf_flux / (transparency[:, None] * level), axis=1)
    # A disc has all light; the PSF has what it shares of it.
    np.testing.assert_allclose(found.scale[:, 1] * shared, np.median(found.scale[:, 1] * shared), rtol=0.03)


def test_few_stars_have_psf_fluxes_and_say_so():
    given, *_ = sky(30, 3, 3, 0.05)
    found = combine(given)
    np.testing.assert_array_equal(found.flux, given.psf_flux)
    np.testing.assert_array_equal(found.error, np.sqrt(given.psf_variance))
    assert found.discs == []
    np.testing.assert_array_equal(found.star_weights, np.ones((3, 1)))  # of the only estimate
    np.testing.assert_array_equal(found.scale, np.ones((30, 1)))
    assert found.note.startswith("not calibrated: 3 stars")


def test_a_photometry_without_discs_has_psf_fluxes():
    given, *_ = sky(30, 20, 3, 0.05)
    none = StarEstimates(given.psf_flux, given.psf_variance, given.light[..., :0], given.covariance[..., :0, :0],
                         given.radii[:, :0])  # fmt: skip
    found = combine(none)
    np.testing.assert_array_equal(found.flux, given.psf_flux)
    assert found.note.startswith("PSF fluxes")


def test_discs_that_the_stamps_cut_to_one_size_are_one():
    given, *_ = sky(30, 20, 4, 0.02)
    given.radii[:, 3:] = given.radii[:, 3:4]
    assert combine(given).discs == [0, 1, 2, 3]


def test_a_star_without_residual_light_keeps_its_psf_flux():
    given, *_ = sky(40, 30, 5, 0.02)
    given.light[4, 20] = np.nan
    found = combine(given)
    assert found.flux[4, 20] == given.psf_flux[4, 20]
    assert np.isfinite(found.error).all()


@pytest.mark.parametrize(("factor", "scatter"), [(1.0, 0.01), (1.5, 0.003), (1.2, 0.0)])
def test_noise_factor_and_scatter_are_found_from_pulls_alone_slow_changes_aside(factor, scatter):
    rng = np.random.default_rng(6)
    frames, stars = 200, 60
    noise = np.geomspace(0.001, 0.05, stars) * rng.uniform(0.7, 1.5, (frames, 1))
    residual = np.hypot(factor * noise, scatter) * rng.standard_normal((frames, stars))
    drift = 0.02 * np.sin(np.linspace(0, 6, frames))[:, None] * rng.standard_normal(stars)
    found = error_terms(residual + drift, noise)
    assert found[0] == pytest.approx(factor, rel=0.06)
    assert found[1] == pytest.approx(scatter, rel=0.15, abs=6e-4)
