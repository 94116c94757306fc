from __future__ import annotations

from importlib.metadata import entry_points
from importlib.util import find_spec

import attrs
import numpy as np
import pytest
from scipy.special import ndtr

from lcframework.testing import check_plugin_class, check_psf_model
from lcframework.types import PSF, FitState, FitStatus, NeedMissing, PsfBatch

lcf_epsf = pytest.importorskip("lcf_epsf", reason="not installed: pip install plugin_examples/lcf-epsf")
Epsf = lcf_epsf.Epsf
needs_photutils = pytest.mark.skipif(find_spec("photutils") is None, reason="needs photutils: pip install photutils")


def gaussian(m: int, width: float, sigma: float) -> np.ndarray:
    """A Gaussian about the array's centre, summed over squares of `width`."""
    u = np.arange(m) - 0.5 * (m - 1)
    row = ndtr((u + 0.5 * width) / sigma) - ndtr((u - 0.5 * width) / sigma)
    return np.outer(row, row)


def batch_of(stars: int, size: int = 17, sigma: float = 1.3, seed: int = 5) -> tuple[PsfBatch, np.ndarray]:
    """Two frames of round stars at the stamps' centres, and their fluxes."""
    rng = np.random.default_rng(seed)
    flux = rng.uniform(300.0, 900.0, (2, stars))
    data = flux[:, :, None, None] * gaussian(size, 1.0, sigma)
    noise = np.full(data.shape, 0.2)
    data = data + rng.normal(size=data.shape) * noise
    zero = np.zeros((2, stars, 2))
    seeing = np.full(2, 2.3548 * sigma)
    return PsfBatch(data, noise, np.zeros(data.shape, bool), zero + 100.0, zero, seeing, (400, 400)), flux


@pytest.mark.parametrize("m", [45, 48])
@pytest.mark.parametrize("subsampling", [3, 5])
def test_the_pixels_sum_is_undone(m: int, subsampling: int) -> None:
    sigma = 1.2 * subsampling  # a PSF of FWHM 2.8 pixels
    kernel = lcf_epsf.small_pixel_kernel(gaussian(m, subsampling, sigma), subsampling)
    assert kernel.shape == (m, m)
    assert kernel.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(kernel, gaussian(m, 1.0, sigma), atol=0.005 * gaussian(m, 1.0, sigma).max())


@pytest.mark.parametrize("size", [5, 9, 21])
def test_the_smoothing_keeps_polynomials_of_degree_4(size: int) -> None:
    kernel = lcf_epsf.smoothing_kernel(size)
    u = np.arange(size) - size // 2
    assert kernel.shape == (size, size)
    assert kernel.sum() == pytest.approx(1.0)
    assert np.sum(kernel * (3.0 + u - u[:, None] ** 2 * u**2 + u**4)) == pytest.approx(3.0, abs=1e-6)


def test_without_small_pixels_the_samples_are_the_kernel() -> None:
    samples = 3.0 * gaussian(21, 1.0, 2.0)
    np.testing.assert_allclose(lcf_epsf.small_pixel_kernel(samples, 1), samples / samples.sum())


def test_the_kernel_is_the_same_everywhere() -> None:
    kernel = gaussian(9, 1.0, 1.0)
    psf = PSF(kernel, kernel, 3, 0.0, FitStatus(FitState.CONVERGED), 1.0)
    assert np.array_equal(Epsf().at(psf, np.zeros((4, 2))), np.stack([kernel] * 4))


def test_its_class_and_options() -> None:
    check_plugin_class(Epsf())
    for wrong in (
        dict(subsampling=2),
        dict(subsampling=0),
        dict(iterations=0),
        dict(fit_size=0.0),
        dict(smoothing=-1.0),
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Epsf(**wrong)


def test_without_photutils(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "photutils", None)
    monkeypatch.setitem(__import__("sys").modules, "photutils.psf", None)
    with pytest.raises(NeedMissing, match="pip install"):
        Epsf().fit(batch_of(5)[0])


@needs_photutils
def test_the_contract() -> None:
    check_psf_model(Epsf(), frames=1)


@needs_photutils
@pytest.mark.parametrize(("size", "sigma"), [(17, 1.3), (18, 1.3), (28, 2.7)])
def test_a_known_psf(size: int, sigma: float) -> None:
    batch, flux = batch_of(8, size, sigma)
    for i, psf in enumerate(Epsf().fit(batch)):
        assert psf.narrow.shape == (3 * size, 3 * size)  # as many small pixels as a stamp has
        blocks = psf.narrow.reshape(size, 3, size, 3).sum(axis=(1, 3))
        truth = gaussian(size, 1.0, sigma)
        assert np.abs(blocks - truth).max() < 0.02 * truth.max()
        small = gaussian(3 * size, 1.0, 3.0 * sigma)
        assert np.abs(psf.narrow - small).max() < 0.04 * small.max()  # no noise on small pixels either
        np.testing.assert_allclose(psf.amplitude, flux[i], rtol=0.02)
        assert np.abs(psf.offset).max() < 0.05
        assert psf.status.usable
        assert 0.7 < psf.reduced_chi2 < 1.4


@needs_photutils
def test_too_few_stars_and_too_few_iterations() -> None:
    batch, _ = batch_of(5)
    mask = batch.mask.copy()
    mask[0, :4] = True
    failed, made = Epsf().fit(attrs.evolve(batch, mask=mask))
    assert (failed.status.state, failed.status.reason) == (FitState.FAILED, "1 stars, and min_stars is 3")
    assert made.status.usable
    hasty = Epsf(iterations=1, accuracy=1e-6).fit(attrs.evolve(batch, mask=mask))[1]
    assert hasty.status.state is FitState.BOUND


def test_it_is_announced() -> None:
    assert any(point.load() is lcf_epsf for point in entry_points(group="lcframework", name="psf-epsf"))
