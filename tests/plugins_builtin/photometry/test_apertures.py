"""Fluxes within an aperture where the PSF is wrong, as that of an undersampled, aberrated field is."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from lcframework.testing.regions import Sky, quad, simulate
from lcframework.types import Kernels, Stamps
from plugins_builtin.engine.target import point_sources
from plugins_builtin.photometry.starred import StarredPhotometry
from plugins_builtin.roi_models.joint import Joint
from plugins_builtin.roi_models.starred import Starred

SIZE, RADIUS, RMS = 20, 6.0, 1.0


def kernel(width: float, coma: float) -> np.ndarray:
    """A Gaussian `width` small pixels wide with a one-sided tail that holds the part `coma` of the light."""
    u = np.arange(40) - 19.5
    x, y = np.meshgrid(u, u)
    core = np.exp(-(x**2 + y**2) / (2 * width**2))
    tail = np.exp(-((x - 2.5) ** 2 + (y + 1.0) ** 2) / (2 * (1.8 * width) ** 2))
    return (1 - coma) * core / core.sum() + coma * tail / tail.sum()


def stars(n: int, flux: float, coma: np.ndarray, seed: int = 1) -> tuple[Stamps, Kernels]:
    """Return stars whose shape is not the kernel's that comes with them."""
    rng = np.random.default_rng(seed)
    position = rng.uniform(-0.5, 0.5, (n, 2))
    true = np.stack([kernel(1.1, c) for c in coma])
    image = flux * point_sources(true, position[:, 0], position[:, 1], SIZE, 2, 2.0)
    noise = np.sqrt(RMS**2 + image / 50.0)
    data = image + noise * rng.standard_normal(image.shape)
    stamps = Stamps(data, noise, np.zeros(data.shape, bool), position)
    return stamps, Kernels(np.repeat(kernel(1.1, 0.15)[None], n, 0), 2, 2.0)


def test_stars_that_are_not_like_the_psf_have_their_flux_and_a_true_error():
    n, flux = 400, 3000.0
    coma = np.linspace(0.0, 0.3, n)
    stamps, kernels = stars(n, flux, coma)
    plain = StarredPhotometry(sigma_clip=50.0).measure(stamps, kernels)
    whole = StarredPhotometry(sigma_clip=50.0).measure(attrs.evolve(stamps, aperture=RADIUS), kernels)
    slope = [np.polyfit(coma, r.flux / flux, 1)[0] for r in (plain, whole)]
    assert abs(slope[0]) > 0.1  # 3 % between the field's ends
    assert abs(slope[1]) < 0.01
    pull = (whole.flux - flux) / np.sqrt(whole.covariance[:, 0, 0])
    assert abs(pull.mean()) < 0.25  # of a wrong shape 0.01 % may lie beyond the aperture
    assert pull.std() == pytest.approx(1.0, abs=0.05 + 3 / np.sqrt(2 * n))
    np.testing.assert_allclose(whole.x, plain.x)


def test_where_the_psf_is_right_the_aperture_costs_its_noise_alone():
    n, flux = 400, 3000.0
    stamps, kernels = stars(n, flux, np.full(n, 0.15))
    plain = StarredPhotometry().measure(stamps, kernels)
    whole = StarredPhotometry().measure(attrs.evolve(stamps, aperture=RADIUS), kernels)
    error = np.sqrt(whole.covariance[:, 0, 0])
    pull = (whole.flux - flux) / error
    assert abs(pull.mean()) < 3.5 / np.sqrt(n)
    assert pull.std() == pytest.approx(1.0, abs=0.03 + 3 / np.sqrt(2 * n))
    # An aperture of N pixels has the sky noise of N pixels, and the photons'.
    due = np.sqrt(np.pi * RADIUS**2 * RMS**2 + flux / 50.0)
    np.testing.assert_allclose(np.median(error), due, rtol=0.03)
    assert np.all(error > np.sqrt(plain.covariance[:, 0, 0]))


def test_a_masked_core_is_filled_from_the_psf():
    n, flux = 200, 3000.0
    stamps, kernels = stars(n, flux, np.full(n, 0.15))
    mask = stamps.mask.copy()
    mask[:, 9, 10] = True
    stamps = attrs.evolve(stamps, mask=mask, data=np.where(mask, 1e5, stamps.data), aperture=RADIUS)
    result = StarredPhotometry().measure(stamps, kernels)
    pull = (result.flux - flux) / np.sqrt(result.covariance[:, 0, 0])
    assert abs(pull.mean()) < 4 / np.sqrt(n)
    assert pull.std() == pytest.approx(1.0, abs=0.05 + 3 / np.sqrt(2 * n))


@pytest.mark.parametrize("signal", [0.0, 20.0])
def test_faint_stars_stay_unbiased(signal):
    n = 400
    stamps, kernels = stars(n, signal, np.full(n, 0.15))
    result = StarredPhotometry().measure(attrs.evolve(stamps, aperture=RADIUS), kernels)
    pull = (result.flux - signal) / np.sqrt(result.covariance[:, 0, 0])
    assert abs(pull.mean()) < 0.05 + 3.5 / np.sqrt(n)
    assert pull.std() == pytest.approx(1.0, abs=0.05 + 3 / np.sqrt(2 * n))


@pytest.mark.parametrize("model", [Joint(background=False), Starred(background=False)], ids=["joint", "starred"])
def test_a_region_s_sources_are_scaled_by_what_its_psfs_miss(model):
    epochs = 24
    rng = np.random.default_rng(5)
    flux = np.array([4000.0, 2500.0]) * rng.uniform(0.8, 1.2, (epochs, 2))
    sky = Sky(
        sources=np.array([[0.6, 0.3], [-0.5, -0.4]]), flux=flux, galaxies=(), seeing=rng.uniform(0.8, 1.0, epochs),
        stamp=32, kernel=40, rotation=0.0, dither=0.5,
    )  # fmt: skip
    cutouts, sources, truth = simulate(sky, 4)
    # PSFs that are too narrow by a part that changes from epoch to epoch: light is missed, more in some than in others.
    wrong = cutouts.kernels.values.copy()
    part = rng.uniform(0.0, 0.12, epochs)
    u = np.arange(40) - 19.5
    narrow = np.exp(-(u[:, None] ** 2 + u**2) / 8)
    wrong = (1 - part[:, None, None]) * wrong + part[:, None, None] * narrow / narrow.sum()
    cutouts = attrs.evolve(cutouts, kernels=attrs.evolve(cutouts.kernels, values=wrong))
    plain = model.fit(cutouts, sources)
    whole = model.fit(attrs.evolve(cutouts, aperture=8.0), sources)
    off = [(r.flux / truth.flux - 1).mean(axis=1) for r in (plain, whole)]
    assert np.std(off[1]) < 0.4 * np.std(off[0])
    total, due = whole.flux.sum(axis=1) - truth.flux.sum(axis=1), np.sqrt(whole.covariance.sum(axis=(1, 2)))
    assert np.std(total / due) < 1.5
    assert np.all(due > np.sqrt(plain.covariance.sum(axis=(1, 2))))
    np.testing.assert_allclose(whole.covariance, whole.covariance.swapaxes(1, 2))


@pytest.mark.slow
def test_on_a_galaxy_with_good_psfs_what_is_added_is_its_own_noise():
    cutouts, sources, _ = simulate(quad(3, 2), 2)
    plain = Joint().fit(cutouts, sources)
    whole = Joint().fit(attrs.evolve(cutouts, aperture=8.0), sources)
    added = np.sqrt(np.einsum("ekk->ek", whole.covariance - plain.covariance))
    assert np.all(added > 0)
    assert np.abs((whole.flux - plain.flux) / added).max() < 4.0
