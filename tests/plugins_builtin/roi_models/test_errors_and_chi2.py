"""What every ROI model states of its fit: the degrees of freedom of chi2, and the noise of the PSF in the errors."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from small_sky import small_sky

from lcframework.testing.regions import simulate
from lcframework.types import Cutouts, PointSources
from plugins_builtin.roi_models.joint import Joint
from plugins_builtin.roi_models.starred import Starred

MODELS = {"joint": Joint(), "starred": Starred(iterations_all=120, iterations_translations=30)}


@pytest.fixture(scope="module")
def scene() -> tuple[Cutouts, PointSources]:
    """Return epochs whose pixels all have the same noise."""
    cutouts, sources, truth = simulate(small_sky(3), 4)
    noise = np.full(cutouts.data.shape, 0.6)
    data = truth.noiseless + 0.6 * np.random.default_rng(4).normal(size=noise.shape)
    mask = cutouts.mask.copy()
    mask[1, :6] = True  # a third of an epoch
    return attrs.evolve(cutouts, data=data, noise=noise, mask=mask), sources


@pytest.mark.parametrize("model", MODELS)
def test_degrees_of_freedom(scene, model):
    """An epoch has its fluxes and its sky for itself."""
    cutouts, sources = scene
    fit = MODELS[model].fit(cutouts, sources)
    used = ~cutouts.mask & ~fit.outliers
    chi2 = np.where(used, ((cutouts.data - fit.model) / cutouts.noise) ** 2, 0).sum(axis=(1, 2))
    expected = chi2 / (used.sum(axis=(1, 2)) - len(sources.names) - 1)
    np.testing.assert_allclose(fit.reduced_chi2, expected, rtol=2e-4)


@pytest.mark.parametrize("model", MODELS)
def test_the_psfs_noise_is_a_part_of_the_errors(scene, model):
    """A PSF known four times better adds a quarter to the variance; one that is known perfectly, nothing."""
    cutouts, sources = scene

    def covariance(precision: float) -> np.ndarray:
        known = np.full((3, 18, 18), precision)
        return MODELS[model].fit(attrs.evolve(cutouts, psf_precision=known), sources).covariance

    without, well, poorly = covariance(1e30), covariance(4e6), covariance(1e6)
    np.testing.assert_allclose(poorly - without, 4 * (well - without), rtol=1e-3, atol=1e-6 * np.abs(without).max())
    share = np.einsum("ekk->ek", poorly - without) / np.einsum("ekk->ek", without)
    assert (share > 0.01).all()
