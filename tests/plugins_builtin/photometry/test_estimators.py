"""Residual light in several discs, and a region's source that is measured as its comparison stars are."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from lcframework.testing.regions import Sky, simulate
from lcframework.types import Estimators, FluxWeights, Kernels, Stamps
from plugins_builtin.engine.residual_light import discs_above_sky, residual_lights
from plugins_builtin.photometry.starred import StarredPhotometry
from plugins_builtin.roi_models.joint import Joint
from plugins_builtin.roi_models.starred import Starred

RADII = np.array([3.0, 5.0, 8.0])


def test_sums_and_their_covariance_are_those_of_random_draws():
    rng = np.random.default_rng(1)
    n, size = 4000, 20
    y, x = np.mgrid[:size, :size] - 9.5
    image = np.exp(-(x**2 + y**2) / 6)
    image /= image.sum()
    sigma = np.sqrt(1.0 + 40 * image)
    weight = sigma**-2.0
    weight[4, 5] = weight[9, 9] = 0.0
    noise = sigma * rng.standard_normal((n, size, size)) + 0.7  # and a sky that nobody fitted
    amplitude = np.sum(noise * weight * image, axis=(1, 2)) / np.sum(weight * image**2)
    residual = noise - amplitude[:, None, None] * image
    each = np.broadcast_to(weight, noise.shape)
    discs = discs_above_sky(np.zeros((n, 2)), np.tile(RADII, (n, 1)), each)
    total, covariance = residual_lights(residual, each, discs, np.broadcast_to(image, (n, 1, size, size)))
    np.testing.assert_allclose(np.cov(total.T), covariance[0], rtol=0.08, atol=0.05 * covariance[0].max())
    # The sky of 0.7 is in none of the sums but for what the fit took of it.
    taken = amplitude.mean() * np.sum(np.where(weight > 0, discs[0], 0.0) * image, axis=(1, 2))
    np.testing.assert_allclose(total.mean(axis=0), -taken, atol=4 * np.sqrt(covariance[0].max() / n))


def test_a_star_s_disc_is_its_aperture_and_no_discs_cost_nothing():
    sky = Sky(sources=np.zeros((1, 2)), flux=np.full((6, 1), 5000.0), stamp=24, kernel=40)
    cutouts, *_ = simulate(sky, 1)
    centre = cutouts.transform[:, :, 2] - 11.5
    stamps = Stamps(cutouts.data, cutouts.noise, cutouts.mask, centre)
    kernels = Kernels(cutouts.kernels.values, 2, 2.0)
    plugin = StarredPhotometry(background_per_epoch=True)
    plain = plugin.measure(stamps, kernels)
    assert plain.residual_light.shape == (6, 0)
    found = plugin.measure(attrs.evolve(stamps, radii=np.tile(RADII, (6, 1))), kernels)
    np.testing.assert_array_equal(found.flux, plain.flux)
    for k, radius in enumerate(RADII):
        whole = plugin.measure(attrs.evolve(stamps, aperture=float(radius)), kernels)
        np.testing.assert_allclose(found.flux + found.residual_light[:, k], whole.flux, rtol=1e-9)
        variance = found.covariance[:, 0, 0] + found.residual_covariance[:, k, k]
        np.testing.assert_allclose(variance, whole.covariance[:, 0, 0], rtol=1e-9)


@pytest.mark.parametrize("model", [Joint(background=False), Starred(background=False)], ids=["joint", "starred"])
def test_a_source_has_the_weights_of_its_brightness(model):
    epochs = 16
    rng = np.random.default_rng(5)
    truth = np.array([6000.0, 300.0]) * rng.uniform(0.8, 1.2, (epochs, 2))
    sky = Sky(sources=np.array([[2.6, 2.2], [-2.6, -2.2]]), flux=truth, seeing=rng.uniform(0.8, 1.0, epochs), stamp=48,
              kernel=40)  # fmt: skip
    cutouts, sources, _ = simulate(sky, 4)
    # PSFs that are too narrow by a part that changes from epoch to epoch, as they are for the comparison stars.
    part = rng.uniform(0.0, 0.12, epochs)
    u = np.arange(40) - 19.5
    narrow = np.exp(-(u[:, None] ** 2 + u**2) / 8)
    wrong = (1 - part[:, None, None]) * cutouts.kernels.values + part[:, None, None] * narrow / narrow.sum()
    cutouts = attrs.evolve(cutouts, kernels=attrs.evolve(cutouts.kernels, values=wrong))
    plain = model.fit(cutouts, sources)
    table = FluxWeights(np.array([1000.0, 2000.0]), np.array([[1.0, 0.0], [0.0, 1.0]]), noise_factor=1.5)
    scale = np.stack([np.ones(epochs), np.full(epochs, 1.02)], axis=1)
    whole = model.fit(attrs.evolve(cutouts, estimators=Estimators(np.full((epochs, 1), 10.0), scale, table)), sources)
    np.testing.assert_allclose(whole.flux[:, 1], plain.flux[:, 1])  # faint: by the PSF
    off = [np.std(r.flux[:, 0] / truth[:, 0]) for r in (plain, whole)]
    assert off[1] < 0.5 * off[0]
    assert np.median(1.02 * whole.flux[:, 0] / truth[:, 0]) == pytest.approx(1.0, abs=0.01)
    error = np.sqrt(whole.covariance[:, 0, 0])
    aperture = model.fit(attrs.evolve(cutouts, aperture=10.0), sources)
    assert np.median(error) < 1.6 * np.median(np.sqrt(aperture.covariance[:, 0, 0]))
    np.testing.assert_allclose(whole.covariance[:, 1, 1], 1.5**2 * plain.covariance[:, 1, 1], rtol=0.2)


def test_weights_between_and_beyond_the_points():
    table = FluxWeights(np.array([100.0, 1000.0, 10000.0]), np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]))
    found = table.at(np.array([-5.0, np.nan, 10.0, 100.0, np.sqrt(1e5), 1e4, 1e9]))
    np.testing.assert_allclose(found[:, 1], [0.0, 0.0, 0.0, 0.0, 0.25, 1.0, 1.0])
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
