"""The variance of fluxes over what single pixels say, for noise that was smoothed by known kernels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import convolve
from scipy.signal import fftconvolve

from lcframework.frames.stamping import noise_map
from lcframework.types import FWHM_PER_SIGMA, Kernels, Stamps
from plugins_builtin.engine.frames.noise_correlation import variance_ratio
from plugins_builtin.engine.target import point_sources
from plugins_builtin.photometry.starred import StarredPhotometry

SIZE, FWHM = 400, 3.0
ALONE = np.ones((1, 1))
#: Linear interpolation half-way between pixels, and between rows alone; a Gaussian, as of frames that were drizzled.
BETWEEN, ROWS = np.full((2, 2), 0.25), np.full((2, 1), 0.5)
U = np.arange(-3, 4)
SMOOTH = np.exp(-0.5 * (U[:, None] ** 2 + U**2) / 0.8**2)
SMOOTH /= SMOOTH.sum()
KERNELS = {"alone": ALONE, "between": BETWEEN, "rows": ROWS, "smooth": SMOOTH}


def expected(kernel: np.ndarray) -> float:
    """The variance of a star's flux above a constant in noise smoothed by a kernel, over that of white noise."""
    half = int(np.ceil(2.4 * FWHM))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    weight = np.exp(-0.5 * (x**2 + y**2) * (FWHM_PER_SIGMA / FWHM) ** 2)
    weight -= weight.mean()
    return float(np.sum(fftconvolve(weight, kernel) ** 2) / np.sum(weight**2) / np.sum(kernel**2))


def noise(rng: np.random.Generator, kernel: np.ndarray) -> np.ndarray:
    """Noise of unit variance in a pixel."""
    return convolve(rng.standard_normal((SIZE, SIZE)), kernel, mode="wrap") / np.sqrt(np.sum(kernel**2))


def frames(kernel: np.ndarray, seed: int, stars: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sky = np.zeros((SIZE, SIZE))
    y, x = np.mgrid[:SIZE, :SIZE]
    for _ in range(stars):
        u, v = rng.uniform(0, SIZE, 2)
        sky += 10 ** rng.uniform(0, 3) * np.exp(-0.5 * ((x - u) ** 2 + (y - v) ** 2) * (FWHM_PER_SIGMA / FWHM) ** 2)
    # The second exposure has a tenth less light of the stars.
    return sky + noise(rng, kernel), 0.9 * sky + noise(rng, kernel)


@pytest.mark.parametrize("stars", [0, 60])
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_ratio_is_that_of_the_kernel(kernel: str, stars: int) -> None:
    first, second = frames(KERNELS[kernel], 3, stars)
    found = variance_ratio(first, second, np.ones(first.shape, bool), FWHM, 2.0)
    # A star covers some 20 pixels: 8000 independent places, half of them free, tell a variance to 2 %, in units of
    # which those of a smoother noise are fewer.
    assert found == pytest.approx(expected(KERNELS[kernel]), rel=0.1)


def test_the_ratio_is_in_units_of_the_stated_variance() -> None:
    first, second = frames(ALONE, 4)
    assert variance_ratio(first, second, np.ones(first.shape, bool), FWHM, 1.0) == pytest.approx(2.0, rel=0.1)


def test_flagged_pixels_take_no_part() -> None:
    first, second = frames(ALONE, 5)
    good = np.random.default_rng(1).uniform(size=first.shape) > 0.002
    first, second = np.where(good, first, 1e4), np.where(good, second, -1e4)
    assert variance_ratio(first, second, good, FWHM, 2.0) == pytest.approx(1.0, rel=0.1)


def test_outlying_pixels_take_no_part() -> None:
    first, second = frames(BETWEEN, 7)
    hot = np.random.default_rng(2).uniform(size=first.shape) < 0.005
    found = variance_ratio(first + 50.0 * hot, second, np.ones(first.shape, bool), FWHM, 2.0)
    assert found == pytest.approx(expected(BETWEEN), rel=0.1)


def test_frames_full_of_light_tell_nothing() -> None:
    first, second = frames(ALONE, 6)
    assert np.isnan(variance_ratio(first, second, np.zeros(first.shape, bool), FWHM, 2.0))
    assert np.isnan(variance_ratio(first[:20, :20], second[:20, :20], np.ones((20, 20), bool), FWHM, 2.0))


@pytest.mark.parametrize("electrons", [300.0, 30000.0])
@pytest.mark.parametrize("kernel", ["alone", "between", "smooth"])
def test_errors_of_stars_are_true_where_pixels_share_their_noise(kernel: str, electrons: float) -> None:
    """Faint stars in the sky's noise, bright ones in that of their own photons: all noise is resampled."""
    n, size, sky = 400, 24, 30.0  # electrons, exposures of 1 s
    rng = np.random.default_rng(8)
    shared, mean_square = KERNELS[kernel], float(np.sum(KERNELS[kernel] ** 2))
    u = np.arange(2 * size) - size + 0.5
    narrow = np.exp(-0.5 * (u[:, None] ** 2 + u**2) / 2.2**2)
    kernels = np.repeat(narrow[None] / narrow.sum(), n, axis=0)
    x, y = rng.uniform(-0.5, 0.5, (2, n))
    source = electrons * point_sources(kernels, x, y, size, 2, 2.0)
    white = np.sqrt(sky**2 + source) * rng.standard_normal(source.shape)
    data = source + np.array([convolve(w, shared, mode="wrap") for w in white])
    rms = sky * np.sqrt(mean_square)  # as it is measured, in single pixels
    first, second = frames(shared, 9)
    ratio = variance_ratio(rms * first, rms * second, np.ones(first.shape, bool), 3.0, 2 * rms**2)
    noises = np.array([noise_map(d, rms, 1.0, ratio) for d in data])
    stamps = Stamps(data, noises, np.zeros(data.shape, bool), np.stack([x, y], axis=1), np.full(n, 1.0 / ratio))
    result = StarredPhotometry().measure(stamps, Kernels(kernels, 2, 2.0)).with_variance(ratio)
    pulls = (result.flux - electrons) / np.sqrt(result.covariance[:, 0, 0])
    # The width of 400 pulls is known to 3.5 %, the ratio to 5 % of itself, half of that in the errors.
    assert pulls.std() == pytest.approx(1.0, abs=0.13)
