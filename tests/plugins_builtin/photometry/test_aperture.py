"""Stars of known total flux in discs: their errors, filled pixels, the sky, neighbours, and what is refused."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from lcframework.testing.conformance.scenes import widened
from lcframework.types import FitState, Kernels, PhotometryResult, Stamps, UnusableInput
from plugins_builtin.engine.stars.psf_width import fwhm_on_pixels
from plugins_builtin.engine.target import point_sources
from plugins_builtin.photometry.aperture import AperturePhotometry

RMS, EXPTIME = 0.4, 50.0
N = 60


def moffat(fwhm: float, size: int, beta: float = 3.0) -> np.ndarray:
    """Return the kernel, on small pixels of half a pixel, of a PSF whose FWHM is so many pixels without the pixel."""
    u = np.arange(2 * size) - (2 * size - 1) / 2
    alpha = np.sqrt((2 * fwhm) ** 2 - 4.0) / (2 * np.sqrt(2 ** (1 / beta) - 1))
    kernel = (1 + (u[:, None] ** 2 + u**2) / alpha**2) ** -beta
    return np.asarray(kernel / kernel.sum())


def stars(
    flux: float, fwhm: float, size: int = 24, n: int = N, level: float = 0.1, seed: int = 1
) -> tuple[Stamps, Kernels]:
    """Return stamps with a level of sky that is left over, and the noise maps that a pipeline makes of the data."""
    rng = np.random.default_rng(seed)
    position = rng.uniform(-0.5, 0.5, (n, 2))
    kernel = moffat(fwhm, size)
    image = flux * point_sources(kernel[None], position[:, 0], position[:, 1], size, 2, 2.0)
    data = image + level + np.sqrt(RMS**2 + image / EXPTIME) * rng.standard_normal(image.shape)
    noise = np.sqrt(RMS**2 + np.maximum(data, 0) / EXPTIME)
    offset = position + rng.normal(0, 0.2, position.shape)
    stamps = Stamps(data, noise, np.zeros(data.shape, bool), offset, np.full(n, 1 / EXPTIME))
    return stamps, Kernels(np.repeat(kernel[None], n, 0), 2, 2.0)


def pulls(result: PhotometryResult, flux: float) -> np.ndarray:
    return np.asarray((result.flux - flux) / np.sqrt(result.covariance[:, 0, 0]))


def assert_true(pull: np.ndarray, systematic: float = 0.0) -> None:
    """Pulls have mean 0 and standard deviation 1, as far as so many can tell."""
    assert abs(pull.mean()) < systematic + 3.5 / np.sqrt(len(pull))
    assert 0.9 < pull.std() < 1.1


def test_the_images_are_those_of_the_definition() -> None:
    kernel = moffat(4.0, 24)
    ours = point_sources(kernel[None], np.array([0.3]), np.array([-0.2]), 24, 2, 2.0)[0]
    np.testing.assert_allclose(ours, widened(kernel, 0.3, -0.2, 24, 2, 2.0), atol=1e-7)


@pytest.mark.parametrize("fwhm", [1.5, 4.0])
@pytest.mark.parametrize("flux", [5000.0, 60.0])
def test_fluxes_are_total_ones_with_true_errors(fwhm: float, flux: float) -> None:
    stamps, kernels = stars(flux, fwhm, n=300)
    result = AperturePhotometry().measure(stamps, kernels)
    assert_true(pulls(result, flux))
    np.testing.assert_allclose(np.median(result.background), 0.1, atol=0.01)


def test_errors_are_the_noise_of_disc_and_sky() -> None:
    flux, fwhm, size = 5000.0, 4.0, 24
    stamps, kernels = stars(flux, fwhm, size)
    result = AperturePhotometry(sky=(2.0, 2.6)).measure(stamps, kernels)
    width = fwhm_on_pixels(kernels.values[:1], 2, 2.0)[0]
    assert width == pytest.approx(np.hypot(fwhm, 0.9), rel=0.02)  # a pixel widens a Moffat by so much
    area, ring = np.pi * (1.5 * width) ** 2, np.pi * (2.6**2 - 2.0**2) * width**2
    share = 1.0 - 1.0 / (1 + (1.5 * 2) ** 2 * (2 ** (1 / 3) - 1)) ** 2
    due = np.sqrt(area * RMS**2 + area**2 * RMS**2 / ring + share * flux / EXPTIME) / share
    np.testing.assert_allclose(np.median(np.sqrt(result.covariance[:, 0, 0])), due, rtol=0.05)


def test_fluxes_do_not_depend_on_the_radius_or_the_seeing() -> None:
    """One star in two seeings by discs of three radii: the same total flux."""
    for fwhm in (2.0, 4.0):
        stamps, kernels = stars(2e4, fwhm, size=32)
        found = [np.mean(AperturePhotometry(radius=r).measure(stamps, kernels).flux) for r in (1.0, 1.5, 2.2)]
        np.testing.assert_allclose(found, 2e4, rtol=1.5e-3)


def test_masked_pixels_are_filled_and_masked_cores_refused() -> None:
    stamps, kernels = stars(5000.0, 4.0)
    mask = stamps.mask.copy()
    mask[:, 13, 12] = True  # next to the peak
    mask[0, 9:15, 9:15] = True
    hit = attrs.evolve(stamps, mask=mask, data=np.where(mask, 1e6, stamps.data))
    result = AperturePhotometry().measure(hit, kernels)
    assert result.status[0].state is FitState.FAILED
    assert "of the light in the disc of 1.5 FWHM" in result.status[0].reason
    assert np.isnan(result.flux[0])
    assert_true(pulls(result, 5000.0)[1:])
    sharp, kernels = stars(5000.0, 1.5, n=20)
    core = sharp.mask.copy()
    core[:, 11:13, 11:13] = True
    assert not any(s.usable for s in AperturePhotometry().measure(attrs.evolve(sharp, mask=core), kernels).status)


def with_neighbours(flux: float, mask_to: float) -> PhotometryResult:
    """Measure stars of 5000 e-/s with two neighbours, masked out to a radius beyond which these have no light."""
    stamps, kernels = stars(5000.0, 3.0, n=150)
    y, x = np.mgrid[:24, :24] - 11.5
    data, mask = stamps.data.copy(), stamps.mask.copy()
    for at in ((9.0, 2.0), (-8.0, -8.0)):
        light = flux * point_sources(kernels.values[:1], np.array([at[0]]), np.array([at[1]]), 24, 2, 2.0)[0]
        near = np.hypot(x - at[0], y - at[1]) < mask_to
        data += np.where(near | (mask_to == 0), light, 0.0)
        mask |= near
    noise = np.sqrt(RMS**2 + np.maximum(data, 0) / EXPTIME)
    return AperturePhotometry().measure(attrs.evolve(stamps, data=data, noise=noise, mask=mask), kernels)


def test_masked_neighbours_are_neither_sky_nor_star() -> None:
    assert_true(pulls(with_neighbours(3000.0, 5.0), 5000.0))


def test_faint_neighbours_stand_out_of_the_sky() -> None:
    """Their mean would take 50 e-/s over 290 pixels for sky: 0.9 of a flux's error for the disc's 71 pixels."""
    pull = pulls(with_neighbours(25.0, 0.0), 5000.0)
    assert -0.35 < pull.mean() < 0.2
    assert pull.std() < 1.15


def test_cosmic_rays_in_the_disc_are_filled() -> None:
    stamps, kernels = stars(5000.0, 3.0)
    data = stamps.data.copy()
    data[:, 14, 10:13] += 400.0
    noise = np.sqrt(RMS**2 + np.maximum(data, 0) / EXPTIME)
    result = AperturePhotometry().measure(attrs.evolve(stamps, data=data, noise=noise), kernels)
    assert result.outliers[:, 14, 10:13].mean() > 0.95
    assert abs(np.median(pulls(result, 5000.0))) < 0.3


def test_discs_at_the_expected_place() -> None:
    stamps, kernels = stars(5000.0, 3.0)
    result = AperturePhotometry(radius=2.0, recentre=False).measure(stamps, kernels)
    np.testing.assert_array_equal(result.x, stamps.offset[:, 0])
    np.testing.assert_allclose(result.flux, 5000.0, rtol=0.06)
    assert np.all(result.covariance[:, 1, 1] == 1.0)


@pytest.mark.parametrize(("size", "radius", "words"), [(16, 3.0, "does not fit"), (16, 1.8, "pixels of sky are left")])
def test_stamps_that_are_too_small_are_said_to_be(size: int, radius: float, words: str) -> None:
    stamps, kernels = stars(5000.0, 4.0, size, n=3)
    for status in AperturePhotometry(radius=radius).measure(stamps, kernels).status:
        assert status.state is FitState.FAILED
        assert words in status.reason
        assert "enlarge [stamps]" in status.reason


def test_a_wrong_psf_moves_all_stars_of_a_frame_alike() -> None:
    """What a PSF fit makes of a star hangs on its shape; a disc's light does not, so stars keep their ratios."""
    stamps, kernels = stars(5000.0, 3.0)
    wrong = attrs.evolve(kernels, values=np.repeat(moffat(3.3, 24)[None], N, 0))
    right, other = (AperturePhotometry(radius=2.0).measure(stamps, k).flux for k in (kernels, wrong))
    ratio = other / right
    assert abs(np.mean(ratio) - 1) < 0.03
    assert np.std(ratio) < 0.001


def test_no_stamp_is_no_star_and_each_needs_its_kernel() -> None:
    stamps, kernels = stars(5000.0, 3.0, n=2)
    none = Stamps(stamps.data[:0], stamps.noise[:0], stamps.mask[:0], stamps.offset[:0])
    with pytest.raises(UnusableInput, match="2 PSF kernels"):
        AperturePhotometry().measure(none, kernels)
    result = AperturePhotometry().measure(none, attrs.evolve(kernels, values=kernels.values[:0]))
    assert (len(result.flux), result.covariance.shape, result.model.shape) == (0, (0, 3, 3), (0, 24, 24))


@pytest.mark.parametrize("sky", [(3.0, 2.0), (-1.0, 2.0), (2.0, 2.0)])
def test_a_ring_needs_its_radii_in_order(sky: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="sky must be"):
        AperturePhotometry(sky=sky)
