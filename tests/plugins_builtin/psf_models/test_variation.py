"""PSFs that vary over the field: stars that took no part against truth, and the choice of the order."""

import attrs
import numpy as np
import pytest

from lcframework.testing.psf_scenes import FieldOptics, StarScene, simulate_field
from lcframework.types import Floats, Kernels, PsfBatch, Stamps
from plugins_builtin.engine.psf import field_fit
from plugins_builtin.engine.psf.field_basis import (
    FRAME,
    IMAGES,
    NORM,
    NORMALISED_WITHIN,
    equivalent_fwhm,
    least_light,
    light_within,
)
from plugins_builtin.photometry.starred import StarredPhotometry
from plugins_builtin.psf_models.starred import Starred

STARS = 70
ABERRATED = FieldOptics(1.5, coma=0.6, corners=0.25)


def part(batch: PsfBatch, which: slice) -> PsfBatch:
    """Return some of the stars."""
    names = ("data", "noise", "mask", "xy", "offset")
    return attrs.evolve(batch, **{name: getattr(batch, name)[:, which] for name in names})


@pytest.fixture(scope="module")
def scene() -> StarScene:
    return simulate_field(ABERRATED, 1, STARS + 40, size=16, seed=3, flux=(1000.0, 1e4))


def deviations(scene: StarScene, plugin: Starred) -> tuple[Floats, Floats]:
    """Return held-out stars' measured over true fluxes, relative to their median, and the errors."""
    batch, held = scene.batch, slice(STARS, None)
    psf = plugin.fit(part(batch, slice(0, STARS)))[0]
    kernels = Kernels(plugin.at(psf, batch.xy[0, held]), psf.subsampling_factor, psf.target_fwhm)
    stamps = Stamps(batch.data[0, held], batch.noise[0, held], batch.mask[0, held], batch.offset[0, held])
    measured = StarredPhotometry().measure(stamps, kernels)
    ratio = measured.flux / scene.flux[0, held]
    return ratio / np.median(ratio) - 1.0, np.sqrt(measured.covariance[:, 0, 0]) / scene.flux[0, held]


def test_held_out_stars_of_an_aberrated_undersampled_field(scene):
    """Order 2, which the stars left out choose, brings fluxes near their noise; a constant PSF does not."""
    constant, error = deviations(scene, Starred(variation=0))
    varying, _ = deviations(scene, Starred())
    noise = np.median(error)
    assert 1.4826 * np.median(np.abs(constant)) > 3.0 * noise
    assert 1.4826 * np.median(np.abs(varying)) < 1.6 * noise


def test_the_order_is_chosen_and_said(scene):
    batch = part(scene.batch, slice(0, STARS))
    psf = Starred().fit(batch)[0]
    assert psf.distortion[IMAGES].shape == (5, *psf.narrow.shape)
    assert psf.status.reason.startswith("variation of order 2: chi2 of stars left out ")
    assert psf.reduced_chi2 < 0.7 * Starred(variation=0).fit(batch)[0].reduced_chi2
    assert np.isfinite(psf.amplitude).all()
    assert psf.residuals.shape == batch.data.shape[1:]
    assert Starred(variation=1).fit(batch)[0].distortion[IMAGES].shape[0] == 2


def test_kernels_are_on_one_scale(scene):
    """All kernels have the same light within some FWHM, and beyond the stars they are those of the nearest edge."""
    plugin = Starred()
    psf = plugin.fit(part(scene.batch, slice(0, STARS)))[0]
    sub, target = psf.subsampling_factor, psf.target_fwhm
    kernels = plugin.at(psf, np.array([[500.0, 500.0], [20.0, 30.0], [970.0, 400.0]]))
    radius = NORMALISED_WITHIN * equivalent_fwhm(psf.full, sub)
    light = light_within(kernels, radius, sub, target)
    np.testing.assert_allclose(light, light_within(psf.narrow, radius, sub, target), rtol=0.002)
    np.testing.assert_allclose(psf.narrow.sum(), 1.0)
    far = plugin.at(psf, np.array([[5000.0, 500.0], [9500.0, 500.0]]))
    np.testing.assert_allclose(far[0], far[1], atol=0.02 * far[0].max())


def test_the_least_light_within_the_stars_reach_is_that_of_kernels_there(scene):
    psf = Starred().fit(part(scene.batch, slice(0, STARS)))[0]
    light = float(psf.distortion[NORM][0])
    kernels = psf.narrow - np.array([0.0, 0.3, 0.6])[:, None, None] * psf.narrow
    for share, images in zip((1.0, 0.7, 0.4), np.stack([kernels - psf.narrow, 0 * kernels], axis=1), strict=True):
        reach = np.array([10.0, 20.0, 1.0, 0.0, 0.0, 1.0, 1.0])
        variation = {IMAGES: images, FRAME: reach, NORM: np.array([light, psf.distortion[NORM][1]])}
        assert least_light(variation, psf.subsampling_factor, psf.target_fwhm) == pytest.approx(share, abs=1e-3)


def test_an_order_with_kernels_that_lose_their_light_is_left_for_a_lower_one(scene, monkeypatch):
    """A polynomial that runs away where there are few stars: fluxes there would be anything."""
    batch = part(scene.batch, slice(0, STARS))
    least = field_fit.least_light
    monkeypatch.setattr(field_fit, "least_light", lambda v, *a: 0.1 if len(v[IMAGES]) == 5 else least(v, *a))
    lowered = Starred().fit(batch)[0]
    assert lowered.status.reason.startswith("variation of order 1: chi2 of stars left out")
    assert lowered.status.reason.endswith("a higher one loses the PSF's light somewhere")
    np.testing.assert_allclose(lowered.full, Starred(variation=1).fit(batch)[0].full, atol=0.02 * lowered.full.max())
    monkeypatch.setattr(field_fit, "least_light", lambda *_: -0.1)
    constant, given = Starred(variation=2).fit(batch)[0], Starred(variation=0).fit(batch)[0]
    assert constant.distortion == {}
    assert constant.status.reason == "variation of order 0, not 2: a higher one loses the PSF's light somewhere"
    np.testing.assert_allclose(constant.narrow, given.narrow, atol=1e-6)
    used = np.isfinite(constant.amplitude) & np.isfinite(given.amplitude)
    assert used.sum() > 50
    assert np.median(np.abs(constant.amplitude / given.amplitude - 1)[used]) < 0.01


@pytest.mark.parametrize(("fwhm", "stars"), [(2.5, 65), (1.2, 35)])
def test_a_constant_field_keeps_its_constant_psf(fwhm, stars):
    batch = simulate_field(FieldOptics(fwhm), 2, stars, size=16, seed=4).batch
    for psf in Starred().fit(batch):
        assert psf.distortion == {}
        assert psf.status.reason.startswith("variation of order 0")


def test_few_stars_give_the_fit_without_variation_to_the_bit():
    batch = simulate_field(ABERRATED, 1, 12, size=16, seed=5).batch
    found, constant = Starred().fit(batch)[0], Starred(variation=0).fit(batch)[0]
    np.testing.assert_array_equal(found.narrow, constant.narrow)
    np.testing.assert_array_equal(found.amplitude, constant.amplitude)
    asked = Starred(variation=2).fit(batch)[0]
    assert asked.distortion == {}
    assert asked.status.reason == "variation of order 0, not 2: too few stars"


def test_many_stars_are_measured_though_few_make_the_pixels(scene):
    """With 90 stars the constant kernel is made of the best ones; amplitudes of all are right."""
    flat = simulate_field(FieldOptics(2.5), 1, 90, size=16, seed=6, flux=(300.0, 1e4))
    psf = Starred().fit(flat.batch)[0]
    ratio = psf.amplitude / flat.flux[0]
    error = np.sqrt(12.0 * 0.6**2 + flat.flux[0] / 60.0) / flat.flux[0]  # of some twelve pixels
    assert np.all(np.abs(ratio / np.median(ratio) - 1.0) < 5.0 * error + 0.01)


@pytest.mark.parametrize("options", [{"variation": 3}, {"variation": "two"}, {"variation": True}])
def test_what_is_no_order_is_refused(options):
    with pytest.raises(ValueError, match='variation must be 0, 1, 2 or "auto"'):
        Starred(**options)


def test_variation_and_distortion_exclude_each_other():
    with pytest.raises(ValueError, match="exclude each other"):
        Starred(variation=1, field_distortion=True)
