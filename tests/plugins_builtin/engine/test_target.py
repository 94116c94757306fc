from __future__ import annotations

import numpy as np
import pytest

from plugins_builtin.engine.target import convolve_target, point_sources, target_matrix, target_matrix_pair


@pytest.mark.parametrize(("n", "subsampling"), [(12, 1), (12, 2), (11, 2), (11, 3), (10, 4)])
def test_equals_the_model_of_starred(n, subsampling, calls_starred):
    jnp = pytest.importorskip("jax.numpy")
    from starred.psf.psf import PSF

    rng = np.random.default_rng(5)
    m = n * subsampling
    kernel = np.zeros((m, m))
    inner = slice(m // 4, m - m // 4)
    kernel[inner, inner] = rng.uniform(size=kernel[inner, inner].shape)
    kernel /= kernel.sum()
    x, y = np.array(0.37), np.array(-0.81)
    model = PSF(n, 1, subsampling, convolution_method="fft", include_moffat=False)
    reference = model.model(
        {},
        {"a": jnp.array([1.0]), "x0": jnp.array([x]), "y0": jnp.array([y])},
        {"background": jnp.array(kernel.ravel()), "mean": jnp.zeros(1)},
        {},
    )
    ours = point_sources(kernel, x, y, n, subsampling, 2.0)
    # STARRED averages over blocks where we sum.
    np.testing.assert_allclose(ours / subsampling**2, np.asarray(reference)[0], atol=3e-7 * kernel.max())


def test_samples_are_normalised_at_every_phase():
    for fwhm in (0.5, 1.0, 2.0, 3.0):
        for m in (40, 41):
            matrix = target_matrix(np.linspace(-1, 1, 21), 32, 2, fwhm, m)
            np.testing.assert_allclose(matrix.sum(axis=-2)[:, 15:-15], 1.0, rtol=2e-14)


@pytest.mark.parametrize("fwhm", [0.0, 0.7, 2.0])
@pytest.mark.parametrize(("subsampling", "m"), [(1, 15), (2, 24), (2, 31), (3, 40), (4, 48)])
def test_derivative(fwhm, subsampling, m):
    at, step = np.array([0.21, -1.4]), 1e-5
    numeric = target_matrix(at + step, 12, subsampling, fwhm, m) - target_matrix(at - step, 12, subsampling, fwhm, m)
    values, ours = target_matrix_pair(at, 12, subsampling, fwhm, m)
    np.testing.assert_array_equal(values, target_matrix(at, 12, subsampling, fwhm, m))
    assert ours.shape == (2, 12, m)
    np.testing.assert_allclose(ours, numeric / (2 * step), atol=1e-8)


@pytest.mark.parametrize("fwhm", [0.0, 2.0])
def test_jax_agrees_with_numpy(fwhm):
    jnp = pytest.importorskip("jax.numpy")
    at = np.array([0.4, -2.3])
    ours = target_matrix_pair(jnp.asarray(at, "float32"), 14, 2, fwhm, 30, xp=jnp)
    for values, expected in zip(ours, target_matrix_pair(at, 14, 2, fwhm, 30), strict=True):
        assert values.dtype == jnp.float32
        np.testing.assert_allclose(np.asarray(values), expected, atol=3e-6)
    np.testing.assert_array_equal(ours[0], target_matrix(jnp.asarray(at, "float32"), 14, 2, fwhm, 30, xp=jnp))


def _gaussian(size, sigma, x, y, per_pixel=1):
    grid = (np.arange(size * per_pixel) - 0.5 * (size * per_pixel - 1)) / per_pixel
    image = np.exp(-0.5 * (((grid - x) / sigma)[None, :] ** 2 + ((grid - y) / sigma)[:, None] ** 2))
    image = image.reshape(size, per_pixel, size, per_pixel).sum(axis=(1, 3))
    return image / (2 * np.pi * (sigma * per_pixel) ** 2)


@pytest.mark.parametrize("m", [47, 48, 64])
def test_full_psf_is_shifted(m):
    """A Gaussian of FWHM 3 data pixels, moved by the spline, is the Gaussian sampled at its new place."""
    sigma = 3.0 / 2.3548
    kernel = _gaussian(m, 2 * sigma, 0, 0)
    ours = point_sources(kernel, np.array(0.31), np.array(-1.77), 24, 2, 0.0)
    fine = _gaussian(48, 2 * sigma, 0.62, -3.54).reshape(24, 2, 24, 2).sum(axis=(1, 3))
    # The error of cubic splines is at most max|f''''| / 384 an axis, and max|f''''| = 3 / sigma^4 times the peak.
    assert abs(ours - fine).max() < 2 * 3 / (2 * sigma) ** 4 / 384 * fine.max()
    assert ours.sum() == pytest.approx(1.0, abs=1e-5)


def test_kernel_of_another_size_is_padded_with_nothing():
    rng = np.random.default_rng(1)
    kernel = rng.uniform(size=(20, 20))
    padded = np.pad(kernel, 6)
    place = np.array(0.3), np.array(0.1)
    np.testing.assert_allclose(
        point_sources(kernel, *place, 16, 2, 2.0), point_sources(padded, *place, 16, 2, 2.0), rtol=1e-13
    )


def test_convolution_keeps_centre_and_sum():
    kernel = _gaussian(33, 2.0, 0, 0)
    full = convolve_target(kernel, 2.0)
    assert full.sum() == pytest.approx(kernel.sum(), rel=1e-6)
    expected = _gaussian(33, np.hypot(2.0, 2.0 / 2.3548), 0, 0)
    np.testing.assert_allclose(full, expected, atol=2e-4 * expected.max())
    np.testing.assert_allclose(full, full[::-1, ::-1], atol=1e-15)
