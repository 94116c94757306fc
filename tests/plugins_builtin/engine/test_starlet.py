from __future__ import annotations

import numpy as np
import pytest

from plugins_builtin.engine.starlet import details, noise_weights, number_of_scales
from plugins_builtin.engine.target import target_matrix


@pytest.mark.parametrize("m", [22, 48])
def test_details_are_those_of_starred(m, calls_starred):
    from starred.utils.jax_utils import decompose

    image = np.random.default_rng(3).normal(size=(m, m))
    reference = np.asarray(decompose(image.astype(np.float32), number_of_scales(m)))
    np.testing.assert_allclose(details(image), reference[:-1], atol=2e-6)


def test_weights_are_the_scatter_of_drawn_noise():
    """5000 draws give standard deviations to 1 %; the mean over an image much better."""
    rng = np.random.default_rng(8)
    noise = rng.uniform(0.5, 3.0, size=(12, 12))
    weights = noise_weights(noise, 2, 2.0)
    gaussian = target_matrix(np.float64(0.0), 24, 1, 2.0)
    draws = 5000
    small = np.repeat(np.repeat(1.0 / noise, 2, axis=0), 2, axis=1) * rng.normal(size=(draws, 24, 24))
    scatter = details(gaussian @ small @ gaussian.T).std(axis=0)
    ratio = scatter / weights
    assert abs(ratio - 1).max() < 6 / np.sqrt(2 * draws)
    assert ratio.std() == pytest.approx(1 / np.sqrt(2 * draws), rel=0.2)


def test_weights_are_those_that_starred_draws(calls_starred):
    """STARRED's 100 draws scatter by 7 % around our weights, without a bias on any scale."""
    from starred.psf.psf import PSF
    from starred.utils.noise_utils import propagate_noise

    noise = np.random.default_rng(2).uniform(0.5, 3.0, size=(16, 16))
    model = PSF(16, 1, 2, convolution_method="fft", elliptical_moffat=True)
    kwargs = {
        "kwargs_gaussian": {"a": np.ones(1), "x0": np.zeros(1), "y0": np.zeros(1)},
        "kwargs_moffat": {"C": 1.0},
    }
    drawn = propagate_noise(model, noise[None], kwargs, num_samples=100, seed=1, upsampling_factor=2)[0][:-1]
    ratio = np.asarray(drawn) / noise_weights(noise, 2, 2.0)
    expected = 1 / np.sqrt(200)
    assert ratio.std() == pytest.approx(expected, rel=0.25)
    # Neighbouring coefficients of a coarse scale share noise: about 4^j of 1024 pixels are alike.
    for scale, one in enumerate(ratio):
        assert one.mean() == pytest.approx(1.0, abs=4 * expected * min(1.0, 2.0**scale * 3 / 32))
