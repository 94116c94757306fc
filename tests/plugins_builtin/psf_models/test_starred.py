from __future__ import annotations

import attrs
import numpy as np
import pytest

from lcframework.testing.psf_scenes import simulate_stars
from lcframework.types import FitState, PsfBatch
from plugins_builtin.engine.psf import fit as psf_fit
from plugins_builtin.engine.psf import run as psf_run
from plugins_builtin.engine.target import point_sources, target_matrix_pair
from plugins_builtin.psf_models.starred import Starred, lcf_psf_models, mean_residual, star_precision

# One size of stamps and one number of stars all over, so that the fit is compiled once: for eight.
STARS, SIZE = 7, 20


@pytest.fixture(scope="module")
def scene():
    return simulate_stars(3, STARS, SIZE, seed=11, fwhm=(3.0, 4.0))


@pytest.fixture(scope="module")
def psfs(scene):
    return Starred().fit(scene.batch)


def changed(batch: PsfBatch, **arrays) -> PsfBatch:
    """A copy of the batch with some arrays replaced by what functions make of copies of them."""
    return attrs.evolve(batch, **{name: change(getattr(batch, name).copy()) for name, change in arrays.items()})


def one_frame(batch: PsfBatch, f: int) -> PsfBatch:
    names = ("data", "noise", "mask", "xy", "offset", "seeing")
    return attrs.evolve(batch, **{name: getattr(batch, name)[f : f + 1] for name in names})


def measure(stamps, noise, psf, iterations=6):
    """Fluxes and their errors by least squares over flux and position: photometry independent of the PSF's fit."""
    n, s = stamps.shape[-1], psf.subsampling_factor
    fluxes, errors = [], []
    for data, sigma in zip(stamps, noise, strict=True):
        flux, x, y = data.sum(), 0.0, 0.0
        for _ in range(iterations):
            rows, row_slopes = target_matrix_pair(np.float64(y), n, s, psf.target_fwhm)
            columns, slopes = target_matrix_pair(np.float64(x), n, s, psf.target_fwhm)
            unit = rows @ psf.narrow @ columns.T
            columns_of = [unit, flux * rows @ psf.narrow @ slopes.T, flux * row_slopes @ psf.narrow @ columns.T]
            design = np.stack([c.ravel() for c in columns_of], axis=1) / sigma.ravel()[:, None]
            covariance = np.linalg.inv(design.T @ design)
            step = covariance @ design.T @ ((data - flux * unit) / sigma).ravel()
            flux, x, y = flux + step[0], x + step[1], y + step[2]
        fluxes.append(flux)
        errors.append(np.sqrt(covariance[0, 0]))
    return np.array(fluxes), np.array(errors)


def test_psfs_are_converged_and_normalised(scene, psfs):
    for psf in psfs:
        assert psf.status.state is FitState.CONVERGED
        assert psf.narrow.shape == psf.full.shape == (2 * SIZE, 2 * SIZE)
        assert psf.narrow.sum() == pytest.approx(1.0, rel=1e-12)
        assert psf.full.sum() == pytest.approx(1.0, abs=3e-3)
        # Regularised fits use up part of the noise: chi2 a little below one.
        assert 0.8 < psf.reduced_chi2 < 1.05
        assert psf.outliers.sum() == 0
        assert not psf.rejected
        # A new stage starts with a new softness; within a stage the loss falls, but for single trial steps.
        assert psf.loss_history[-1] < psf.loss_history[0]


def test_degrees_of_freedom(scene, psfs):
    """Chi2 is divided by the pixels less what was fitted: the Moffat's four, three a star, and some small pixels."""
    for f, psf in enumerate(psfs):
        used = np.isfinite(psf.residuals) & ~psf.outliers & ~scene.batch.mask[f]
        chi2 = (np.where(used, psf.residuals / scene.batch.noise[f], 0.0) ** 2).sum()
        fitted = used.sum() - chi2 / psf.reduced_chi2
        assert fitted > 4 + 3 * STARS - 1e-6 * used.sum()
        assert fitted < 4 + 3 * STARS + psf.narrow.size


def test_positions_and_flux_ratios_are_recovered(scene, psfs):
    """The PSF's own centre is free, so positions agree up to one shift a frame; light outside the stamp is common."""
    for psf, truth, place, noise in zip(psfs, scene.flux, scene.offset, scene.batch.noise, strict=True):
        images = point_sources(psf.narrow, psf.offset[:, 0], psf.offset[:, 1], SIZE, 2, 2.0)
        error = 1 / np.sqrt((images**2 / noise**2).sum(axis=(1, 2)))
        ratio, weight = psf.amplitude / truth, (truth / error) ** 2
        mean = (ratio * weight).sum() / weight.sum()
        assert mean == pytest.approx(1.0, abs=0.05)
        pulls = (ratio - mean) * np.sqrt(weight)
        assert abs(pulls).max() < 4
        assert (pulls**2).sum() < 2.2 * (STARS - 1)  # 0.4 % of the time by chance
        shift = psf.offset - place
        assert abs(shift - np.median(shift, axis=0)).max() < 0.06


def test_precision_is_what_the_stars_tell_of_their_image(scene, psfs):
    known = (scene.flux[:, :, None, None] ** 2 / scene.batch.noise**2).sum(axis=1)
    for psf, expected in zip(psfs, known, strict=True):
        # The unit is the part of a star's light that the kernel holds.
        assert psf.reduced_chi2 < 1.1
        ratio = psf.precision / expected
        assert 0.9 < np.median(ratio) < 1.05
        assert np.ptp(ratio) < 0.1


def test_precision_is_less_where_stars_differ_by_more_than_the_noise():
    amplitude, weight = np.array([3.0, 2.0, np.nan]), np.ones((3, 4, 4))
    weight[2] = 0.0
    residual = np.ones((3, 4, 4))
    np.testing.assert_allclose(star_precision(amplitude, weight, 0.5 * residual), 13.0)
    np.testing.assert_allclose(star_precision(amplitude, weight, 2.0 * residual), 13.0 / 4.0)


def test_mean_residual_is_what_stars_have_in_common_at_their_places():
    rng = np.random.default_rng(6)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2

    def missed(dx, dy):
        return 1e-2 * (x - dx - 1.0) * np.exp(-((x - dx - 1.0) ** 2 + (y - dy + 0.5) ** 2) / 8)

    offset, amplitude = rng.uniform(-0.5, 0.5, (4, 2)), np.array([5.0, 2.0, 1.0, np.nan])
    residual = np.array([a * missed(*at) for a, at in zip(amplitude, offset, strict=True)])
    # The noise of bright stars is greatest where they are.
    weight = np.array([1 / (1 + 2 * np.exp(-((x - dx) ** 2 + (y - dy) ** 2) / 6)) for dx, dy in offset])
    weight[0, 3:5, 6] = 0.0
    offset[3] = np.nan
    found = mean_residual(amplitude, weight, residual, offset)
    used = np.ones((SIZE, SIZE), bool)
    used[1:7, 4:9] = False  # around what is masked in the brightest
    np.testing.assert_allclose(found[used], missed(0, 0)[used], atol=0.05 * 1e-2)
    assert abs(found - missed(0, 0)).max() < 0.5e-2
    assert not mean_residual(amplitude, 0 * weight, residual, offset).any()


@pytest.mark.parametrize("regularization", [2.0, 30.0])
def test_model_and_mean_residual_are_known_as_well_as_the_precision_says(regularization):
    """However strong the penalty is: what it keeps from the model is in the mean residual."""
    scene = simulate_stars(16, STARS, SIZE, seed=21, fwhm=(3.0, 4.0))
    psfs = Starred(regularization=regularization).fit(scene.batch)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    before, after = [], []
    for f, (psf, shape) in enumerate(zip(psfs, scene.shapes, strict=True)):
        # The PSF's centre and its scale are free.
        weight = scene.flux[f] ** 2
        centre = np.average(psf.offset - scene.offset[f], axis=0, weights=weight)
        truth = shape.image(SIZE, *-centre) / np.average(psf.amplitude / scene.flux[f], weights=weight)
        images = [
            point_sources(psf.narrow, np.float64(dx), np.float64(dy), SIZE, psf.subsampling_factor, psf.target_fwhm)
            for dx, dy in ((0.0, 0.0), (0.01, 0.0), (0.0, 0.01))
        ]
        star = np.stack([images[0], images[1] - images[0], images[2] - images[0]]).reshape(3, -1)
        weighted = star * psf.precision.ravel()
        # What a close pair along an axis, one along a diagonal, and a halo differ from a star by.
        for shaped in (x**2, x * y, x**2 + y**2):
            g = (shaped * np.exp(-(x**2 + y**2) / 12) * psf.precision).ravel()
            g = g - (g @ star.T) @ np.linalg.solve(weighted @ star.T, weighted)
            error = np.sqrt(np.sum(g**2 / psf.precision.ravel()))
            off = (images[0] - truth).ravel() @ g
            before.append(off / error)
            after.append((off + psf.mean_residual.ravel() @ g) / error)
    rms = [float(np.sqrt(np.mean(np.square(values)))) for values in (before, after)]
    # Where the model misfits, the precision is less by the reduced chi2, and the stated error is too large.
    misfit = np.mean([max(psf.reduced_chi2, 1.0) for psf in psfs])
    assert 0.7 < rms[1] * np.sqrt(misfit) < 1.25
    if regularization > 10:
        assert rms[0] > 2.5


def test_psf_measures_stars_that_it_was_not_made_from(scene, psfs):
    """Flux ratios of new stars of the same frame, down to faint ones, agree with the truth within their errors."""
    rng = np.random.default_rng(2)
    psf, shape = psfs[0], scene.shapes[0]
    truth = np.exp(np.linspace(np.log(100), np.log(8000), 24))
    model = np.array([f * shape.image(SIZE, *rng.uniform(-0.5, 0.5, 2)) for f in truth])
    noise = np.sqrt(0.6**2 + model / 60)
    flux, error = measure(model + noise * rng.normal(size=model.shape), noise, psf)
    ratio, weight = flux / truth, (truth / error) ** 2
    pulls = (ratio - (ratio * weight).sum() / weight.sum()) * np.sqrt(weight)
    # The PSF's own error, 0.2 % of a star's light with eight stars to learn from, shows in the brightest.
    assert 0.6 < pulls.std() < 1.5
    assert abs(pulls[:12]).max() < 4


def test_cosmic_ray_is_masked_and_nothing_else(scene, psfs):
    hit = np.zeros(scene.batch.data.shape, bool)
    hit[1, 3, 11, 7:11] = True
    hit[1, 3, 12, 10:12] = True
    batch = changed(scene.batch, data=lambda data: data + 60.0 * hit)
    dirty = Starred().fit(batch)
    assert dirty[1].outliers[hit[1]].all()
    flagged = np.array([psf.outliers for psf in dirty])
    assert (flagged & ~hit).sum() <= 3
    assert dirty[1].reduced_chi2 == pytest.approx(psfs[1].reduced_chi2, abs=0.02)
    np.testing.assert_array_equal(dirty[0].narrow, psfs[0].narrow)
    unhit = np.arange(STARS) != 3
    np.testing.assert_allclose(dirty[1].amplitude[unhit], psfs[1].amplitude[unhit], rtol=3e-3)
    # Six masked pixels cost the star itself little.
    np.testing.assert_allclose(dirty[1].amplitude[3], psfs[1].amplitude[3], rtol=2e-2)
    (spoilt,) = Starred(outlier_sigma=0.0, star_sigma=0.0, iterations_pixels=100).fit(one_frame(batch, 1))
    assert spoilt.reduced_chi2 > 2.0 > 1.05 > dirty[1].reduced_chi2


def test_saturated_core_is_bridged_by_the_other_stars(scene, psfs):
    """Twelve masked pixels in a star's core: the PSF there is the other stars', the amplitude that of its wings."""

    def saturate(fill):
        def change(array):
            array[0, 2, 8:12, 9:12] = fill
            return array

        return change

    batch = changed(one_frame(scene.batch, 0), data=saturate(1e5), mask=saturate(True))
    (psf,) = Starred().fit(batch)
    assert not psf.rejected
    assert psf.outliers.sum() == 0
    others = np.arange(STARS) != 2
    np.testing.assert_allclose(psf.amplitude[others], psfs[0].amplitude[others], rtol=1e-2)
    np.testing.assert_allclose(psf.amplitude[2], psfs[0].amplitude[2], rtol=4e-2)


def test_outliers_can_be_left_in(scene):
    batch = changed(one_frame(scene.batch, 0), data=lambda data: data + 60.0 * (np.arange(SIZE) == 9))
    (psf,) = Starred(outlier_sigma=0.0, star_sigma=0.0, iterations_pixels=30).fit(batch)
    assert psf.outliers.sum() == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e9])
def test_value_of_a_masked_pixel_does_not_matter(scene, value):
    where = (0, 2, 6, 6)

    def put(content):
        def change(array):
            array[where] = content
            return array

        return change

    batch = one_frame(scene.batch, 0)
    (one,) = Starred().fit(changed(batch, mask=put(True)))
    (other,) = Starred().fit(changed(batch, mask=put(True), data=put(value), noise=put(value)))
    np.testing.assert_array_equal(one.narrow, other.narrow)
    np.testing.assert_array_equal(one.amplitude, other.amplitude)


def test_a_masked_pixel_costs_nothing_but_itself(scene, psfs):
    def change(mask):
        mask[0, 2, 6, 6] = True
        return mask

    (psf,) = Starred().fit(changed(one_frame(scene.batch, 0), mask=change))
    np.testing.assert_allclose(psf.amplitude, psfs[0].amplitude, rtol=2e-3)
    pixels = STARS * SIZE**2
    assert psf.reduced_chi2 * (pixels - 1) == pytest.approx(psfs[0].reduced_chi2 * pixels, abs=20)


def test_frames_do_not_know_of_each_other(scene, psfs):
    for f, psf in enumerate(psfs):
        (alone,) = Starred().fit(one_frame(scene.batch, f))
        np.testing.assert_array_equal(alone.narrow, psf.narrow)
        np.testing.assert_array_equal(alone.amplitude, psf.amplitude)


@pytest.mark.slow
@pytest.mark.parametrize("together", [1, 4])
def test_batches_on_a_device_give_the_same(scene, psfs, monkeypatch, together):
    """Whatever the batch, and though frames that need long go on in batches of their own."""
    for module in (psf_run, psf_fit):
        monkeypatch.setattr(module, "lanes", lambda *shape: together)
    monkeypatch.setattr(psf_fit, "ROUND", 80)
    for one, other in zip(Starred().fit(scene.batch), psfs, strict=True):
        assert one.status.state is FitState.CONVERGED
        # Half a unit of chi2 among 2800: a frame that goes on elsewhere has to learn the curvature again.
        np.testing.assert_allclose(one.loss_history[-1], other.loss_history[-1], atol=1.0)
        np.testing.assert_allclose(one.amplitude, other.amplitude, rtol=2e-4)


def test_bad_frames_fail_alone_and_say_why(scene, psfs):
    def spoil(mask):
        mask[0] = True
        mask[1, :, :, : SIZE // 2] = True
        return mask

    first, second, third = Starred().fit(changed(scene.batch, mask=spoil))
    assert first.status.state is FitState.FAILED
    assert first.status.reason == "no usable star"
    assert second.status.state is FitState.FAILED
    assert "50% of its pixels are masked" in second.status.reason
    assert set(second.rejected) == set(range(STARS))
    np.testing.assert_array_equal(third.narrow, psfs[2].narrow)


def test_frame_of_nan_or_of_nothing_fails_or_ends(scene, psfs):
    def spoil(data):
        data[0] = np.nan
        data[1] = 0.0
        return data

    first, second, third = Starred().fit(changed(scene.batch, data=spoil))
    assert not first.status.usable
    assert not second.status.usable
    assert "no flux" in second.status.reason
    np.testing.assert_array_equal(third.narrow, psfs[2].narrow)


def test_frame_of_pure_noise_raises_nothing(scene):
    rng = np.random.default_rng(9)
    batch = one_frame(scene.batch, 0)
    batch = changed(batch, data=lambda data: rng.normal(size=data.shape), noise=np.ones_like)
    (psf,) = Starred().fit(batch)
    assert psf.status.state in tuple(FitState)
    if psf.status.usable:
        assert np.isfinite(psf.narrow).all()


def test_padding_does_not_matter(scene, psfs):
    def pad(fill):
        return lambda array: np.concatenate([array, np.full((1, 1, *array.shape[2:]), fill, array.dtype)], axis=1)

    batch = changed(
        one_frame(scene.batch, 2), data=pad(0), noise=pad(1), mask=pad(True), xy=pad(np.nan), offset=pad(np.nan)
    )
    (psf,) = Starred().fit(batch)
    assert not psf.rejected
    assert np.isnan(psf.amplitude[STARS:]).all()
    np.testing.assert_allclose(psf.amplitude[:STARS], psfs[2].amplitude, rtol=1e-3)
    assert psf.loss_history[-1] == pytest.approx(psfs[2].loss_history[-1], abs=0.5)


def test_double_and_galaxy_are_dropped(scene, psfs):
    rng = np.random.default_rng(6)
    shape, flux = scene.shapes[0], 4000.0
    double = flux * (shape.image(SIZE, -1.5, 0) + 0.7 * shape.image(SIZE, 1.8, 0.4))
    wide = attrs.evolve(shape, fwhm=2.2 * shape.fwhm, second_sigma=2.2 * shape.second_sigma)

    def replace(model):
        def change(array):
            array[0, 5] = model if model.ndim == 2 else array[0, 5]
            return array

        return change

    for model in (double, flux * wide.image(SIZE, 0, 0)):
        noise = np.sqrt(0.6**2 + model / 60)
        batch = changed(
            one_frame(scene.batch, 0),
            data=replace(model + noise * rng.normal(size=model.shape)),
            noise=replace(noise),
        )
        (psf,) = Starred().fit(batch)
        assert list(psf.rejected) == [5]
        assert np.isnan(psf.amplitude[5])
        others = np.arange(STARS) != 5
        np.testing.assert_allclose(psf.amplitude[others], psfs[0].amplitude[others], rtol=1e-2)
        (kept,) = Starred(star_sigma=0.0, iterations_pixels=60).fit(batch)
        assert not kept.rejected


def test_bound_is_reported(scene):
    (psf,) = Starred(iterations_pixels=30).fit(one_frame(scene.batch, 0))
    assert psf.status.state is FitState.BOUND
    assert "iterations_pixels = 30" in psf.status.reason


def test_stars_off_their_expected_places_are_found(scene, psfs):
    """The astrometry of a frame may be off by pixels for all of its stars alike."""

    def move(data):
        return np.roll(data, (2, -3), axis=(-2, -1))

    batch = changed(one_frame(scene.batch, 0), data=move, noise=move)
    (psf,) = Starred().fit(batch)
    assert psf.status.usable
    shift = psf.offset - psfs[0].offset
    np.testing.assert_allclose(shift - np.median(shift, axis=0), 0.0, atol=0.02)
    np.testing.assert_allclose(psf.amplitude / psf.amplitude[0], psfs[0].amplitude / psfs[0].amplitude[0], rtol=0.01)


def test_options_teach():
    with pytest.raises(
        ValueError, match=r"subsampling_factor must be 1 to 4, a whole number \(small pixels .*\), got 7"
    ):
        Starred(subsampling_factor=7)
    with pytest.raises(ValueError, match="iterations_pixels must be 1 to 1000000"):
        Starred(iterations_pixels=0)
    assert lcf_psf_models() == {"starred": Starred}


def test_oblong_stamps_are_refused(scene):
    with pytest.raises(ValueError, match="square"):
        Starred().fit(changed(scene.batch, data=lambda d: d[..., 1:]))


@pytest.mark.slow
def test_distortion_follows_the_field():
    """A PSF that widens by 40 % across the frame: the fit without distortion fails, the one with it does not."""
    rng = np.random.default_rng(3)
    scene = simulate_stars(1, 12, 16, seed=5, fwhm=(3.0, 3.0))
    batch, shape = scene.batch, scene.shapes[0]
    across = (batch.xy[0, :, 0] - 499.5) / 1000
    widths = 1 + 0.4 * across
    flux = 3000.0

    def star(width, x, y):
        names = ("fwhm", "second_sigma", "second_x", "second_y")
        scaled = attrs.evolve(shape, **{name: width * getattr(shape, name) for name in names})
        return flux * scaled.image(16, x, y)

    model = np.array([star(w, *place) for w, place in zip(widths, scene.offset[0], strict=True)])
    noise = np.sqrt(0.6**2 + model / 60)
    batch = attrs.evolve(batch, data=(model + noise * rng.normal(size=model.shape))[None], noise=noise[None])
    starred = Starred(field_distortion=True, star_sigma=0.0, outlier_sigma=0.0)
    (psf,) = starred.fit(batch)
    (rigid,) = Starred(star_sigma=0.0, outlier_sigma=0.0).fit(batch)
    assert psf.status.usable
    assert rigid.reduced_chi2 > 1.5 > 1.2 > psf.reduced_chi2
    # STARRED's first axis is the row: both stretch by 0.4 across the frame along x.
    np.testing.assert_allclose(psf.distortion["dilation_x"][0], 0.4, atol=0.12)
    np.testing.assert_allclose(psf.distortion["dilation_y"][0], 0.4, atol=0.12)
    np.testing.assert_allclose(psf.distortion["shear"], 0.0, atol=0.12)
    left, right = starred.at(psf, np.array([[100.0, 500.0], [900.0, 500.0]]))
    assert left.sum() == pytest.approx(1.0)
    assert left.max() > 1.2 * right.max()
    (few,) = starred.fit(attrs.evolve(batch, mask=np.arange(12)[None, :, None, None] * np.ones_like(batch.mask) > 3))
    assert few.status.usable
    assert "no distortion fitted: 4 stars" in few.status.reason


def test_warm_up_compiles_what_the_fit_uses(monkeypatch):
    from plugins_builtin.engine.psf import model as psf_model

    model = Starred(field_distortion=False)
    model.warm_up(5, 12)
    steps = psf_model.compiled(model._setting(), False)
    before = [step._cache_size() for step in steps]
    assert min(before) > 0
    model.fit(simulate_stars(2, 5, 12, seed=3).batch)
    assert [step._cache_size() for step in steps] == before
