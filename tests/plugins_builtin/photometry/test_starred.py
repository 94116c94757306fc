"""Star photometry against injected fluxes, the Cramer-Rao bound and STARRED's own joint fit."""

from __future__ import annotations

import pickle
import time
import warnings

import attrs
import numpy as np
import pytest

from lcframework.types import FitState, Kernels, Stamps, UnusableInput
from plugins_builtin.engine.stars.point_source_fit import PointSourceStamps, fit_point_sources
from plugins_builtin.engine.target import convolve_target, point_sources
from plugins_builtin.photometry import starred
from plugins_builtin.photometry.starred import StarredPhotometry, lcf_photometry

SKY = 10.0


def narrow_kernel(m: int, width: float) -> np.ndarray:
    """An elliptical Moffat with a lopsided core, `width` small pixels across."""
    u = np.arange(m) - (m - 1) / 2
    x, y = np.meshgrid(u, u)
    radius = width / 2 / np.sqrt(2 ** (1 / 3.0) - 1)
    kernel = (1 + ((1.1 * x) ** 2 + (0.9 * y + 0.1 * x) ** 2) / radius**2) ** -3.0
    kernel += 0.1 * kernel.max() * np.exp(-((x - 2) ** 2 + (y + 1) ** 2) / 8)
    return kernel / kernel.sum()


@attrs.frozen(eq=False)
class Sky:
    stamps: Stamps
    kernels: Kernels
    flux: np.ndarray
    position: np.ndarray
    unit: np.ndarray


def simulate(
    seed: int,
    n: int,
    signal: float,
    size: int = 24,
    subsampling: int = 2,
    fwhm: float = 2.0,
    registration: float = 0.0,
    pedestal: float = 0.0,
) -> Sky:
    """Stars of a signal-to-noise ratio (against the sky), `registration` pixels (rms) from where they are expected."""
    rng = np.random.default_rng(seed)
    widths = 3.0 * subsampling * rng.uniform(0.8, 1.3, n)
    kernels = np.array([narrow_kernel(size * subsampling, w) for w in widths])
    expected = rng.uniform(-0.5, 0.5, (n, 2))
    position = expected + registration * rng.standard_normal((n, 2))
    unit = point_sources(kernels, position[:, 0], position[:, 1], size, subsampling, fwhm)
    flux = signal * SKY / np.sqrt(np.sum(unit**2, axis=(1, 2)))
    source = flux[:, None, None] * unit
    noise = np.sqrt(SKY**2 + source)
    data = source + pedestal + noise * rng.standard_normal(unit.shape)
    stamps = Stamps(data, noise, np.zeros(unit.shape, bool), expected)
    return Sky(stamps, Kernels(kernels, subsampling, fwhm), flux, position, unit)


def flux_error(result) -> np.ndarray:
    return np.sqrt(result.covariance[:, 0, 0])


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("signal", [10, 30, 300])
def test_fluxes_and_positions_are_unbiased_with_true_errors(signal, background):
    n = 600
    sky = simulate(1, n, signal, registration=0.2, pedestal=4.0 if background else 0.0)
    result = StarredPhotometry(background_per_epoch=background).measure(sky.stamps, sky.kernels)
    pulls = np.array(
        [
            (result.flux - sky.flux) / flux_error(result),
            (result.x - sky.position[:, 0]) / np.sqrt(result.covariance[:, 1, 1]),
            (result.y - sky.position[:, 1]) / np.sqrt(result.covariance[:, 2, 2]),
        ]
    )
    assert np.all(np.abs(pulls.mean(axis=1)) < 3.5 / np.sqrt(n))
    assert np.all(np.abs(pulls.std(axis=1) - 1) < 0.05 + 2.5 / np.sqrt(2 * n))
    assert result.reduced_chi2.mean() == pytest.approx(1.0, abs=4 * np.sqrt(2 / 576 / n))
    assert all(s.state is FitState.CONVERGED for s in result.status)
    assert result.outliers.sum() < 5
    if background:
        assert np.mean(result.background) == pytest.approx(4.0, abs=4 * SKY / 24 / np.sqrt(n))
    else:
        assert not result.background.any()


@pytest.mark.parametrize("electrons", [3e3, 3e4, 3e5])
def test_photon_noise_taken_from_the_data_makes_no_star_fainter(electrons):
    n, exptime = 400, 100.0
    sky = simulate(11, n, 10.0)
    rng = np.random.default_rng(12)
    counted = rng.poisson(electrons * np.maximum(sky.unit, 0) + SKY**2) - SKY**2
    data = counted / exptime
    noise = np.sqrt(SKY**2 / exptime**2 + np.maximum(data, 0) / exptime)
    plain = attrs.evolve(sky.stamps, data=data, noise=noise)
    stamps = attrs.evolve(plain, photon_variance=np.full(n, 1 / exptime))
    result = StarredPhotometry().measure(stamps, sky.kernels)
    bias = exptime * np.mean(result.flux) - electrons
    error = exptime * np.mean(flux_error(result)) / np.sqrt(n)
    assert abs(bias) < 3.5 * error
    assert np.mean(result.reduced_chi2) == pytest.approx(1.0, abs=0.02)
    biased = exptime * np.mean(StarredPhotometry().measure(plain, sky.kernels).flux) - electrons
    assert biased - bias < -40  # e-: about one for each pixel that the star makes noisier


def test_the_fitted_positions_bias_is_taken_off():
    """A position that follows the noise makes a flux too large by its variance over the flux."""
    signal = 12.0
    sky = simulate(21, 4000, signal, size=14)
    result = StarredPhotometry().measure(sky.stamps, sky.kernels)
    pulls = (result.flux - sky.flux) / flux_error(result)
    # The bias would be a mean pull of 1 / signal or more.
    assert abs(np.mean(pulls)) < 3 / np.sqrt(len(pulls)) < 0.6 / signal


@pytest.mark.parametrize("background", [False, True])
def test_degrees_of_freedom(background):
    """Flux, two coordinates and the background are fitted."""
    sky = simulate(22, 20, 50.0, size=10, pedestal=3.0 * background)
    stamps = attrs.evolve(sky.stamps, noise=np.full(sky.stamps.data.shape, 2 * SKY))
    result = StarredPhotometry(background_per_epoch=background).measure(stamps, sky.kernels)
    assert not result.outliers.any()
    chi2 = (((stamps.data - result.model) / stamps.noise) ** 2).sum(axis=(1, 2))
    np.testing.assert_allclose(result.reduced_chi2, chi2 / (100 - 3 - background), rtol=1e-9)


@pytest.mark.parametrize("signal", [0, 1, 3, 5])
def test_faint_and_absent_stars(signal):
    n = 200
    sky = simulate(2, n, signal, registration=0.5)
    result = StarredPhotometry().measure(sky.stamps, sky.kernels)
    pull = (result.flux - sky.flux) / flux_error(result)
    # The prior's width (1 pixel) is not the registration's: up to 0.05 of an error may remain.
    assert abs(pull.mean()) < 0.05 + 3.5 / np.sqrt(n)
    assert abs(pull.std() - 1) < 0.05 + 3 / np.sqrt(2 * n)
    away = np.hypot(result.x - sky.stamps.offset[:, 0], result.y - sky.stamps.offset[:, 1])
    assert away.max() < 2.5
    assert all(s.usable for s in result.status)


def test_covariance_is_the_cramer_rao_bound():
    sky = simulate(3, 8, 60)
    result = StarredPhotometry(background_per_epoch=True).measure(sky.stamps, sky.kernels)
    step = 1e-4
    for i in range(8):

        def image(x, y, i=i):
            return point_sources(sky.kernels.values[i], np.float64(x), np.float64(y), 24, 2, 2.0)

        x, y = result.x[i], result.y[i]
        slopes = np.array(
            [
                image(x, y),
                result.flux[i] * (image(x + step, y) - image(x - step, y)) / (2 * step),
                result.flux[i] * (image(x, y + step) - image(x, y - step)) / (2 * step),
                np.ones((24, 24)),
            ]
        ).reshape(4, -1)
        fisher = (slopes / sky.stamps.noise[i].ravel() ** 2) @ slopes.T
        bound = np.linalg.inv(fisher)[:3, :3]
        # The prior of 1 pixel and the flux's correction for bias are all that differs.
        np.testing.assert_allclose(np.diag(result.covariance[i]), np.diag(bound), rtol=0.01)


@pytest.mark.parametrize(("subsampling", "fwhm", "size"), [(1, 2.0, 20), (3, 2.0, 20), (2, 0.0, 20), (2, 3.0, 21)])
def test_other_kernels(subsampling, fwhm, size):
    n = 150
    sky = simulate(4, n, 50, size=size, subsampling=subsampling, fwhm=fwhm, registration=0.2)
    result = StarredPhotometry().measure(sky.stamps, sky.kernels)
    pull = (result.flux - sky.flux) / flux_error(result)
    assert abs(pull.mean()) < 3.5 / np.sqrt(n)
    assert abs(pull.std() - 1) < 3.5 / np.sqrt(2 * n)


def test_narrow_and_full_kernels_agree():
    sky = simulate(5, 20, 50)
    full = Kernels(convolve_target(sky.kernels.values, 2.0), 2, 0.0)
    narrow = StarredPhotometry().measure(sky.stamps, sky.kernels)
    other = StarredPhotometry().measure(sky.stamps, full)
    np.testing.assert_allclose(other.flux, narrow.flux, atol=0.02 * flux_error(narrow).max())


def test_a_position_error_of_two_pixels_is_found():
    sky = simulate(6, 50, 100)
    moved = attrs.evolve(sky.stamps, offset=sky.stamps.offset + np.array([1.6, -1.2]))
    result = StarredPhotometry().measure(moved, sky.kernels)
    np.testing.assert_allclose(result.flux, sky.flux, atol=5 * flux_error(result).max())
    assert np.abs(result.x - sky.position[:, 0]).max() < 0.2
    far = attrs.evolve(sky.stamps, offset=sky.stamps.offset + np.array([3.0, 2.5]))
    assert "pixels from where the star was expected" in StarredPhotometry().measure(far, sky.kernels).status[0].reason


@pytest.mark.parametrize("brightness", [20.0, 300.0, 1e5])
def test_cosmic_rays_are_masked(brightness):
    n = 60
    sky = simulate(7, n, 60)
    clean = StarredPhotometry().measure(sky.stamps, sky.kernels)
    data = sky.stamps.data.copy()
    rng = np.random.default_rng(8)
    row, column = rng.integers(3, 20, (2, n))
    far = np.hypot(row - 11.5, column - 11.5) > 3
    row, column = np.where(far, row, 5), np.where(far, column, 6)
    for i in range(n):
        data[i, row[i], column[i]] += brightness * SKY
        data[i, row[i] + 1, column[i]] += 0.3 * brightness * SKY
    result = StarredPhotometry().measure(attrs.evolve(sky.stamps, data=data), sky.kernels)
    assert result.outliers[np.arange(n), row, column].all()
    assert result.outliers.sum() < 3 * n
    assert np.all(np.abs(result.flux - clean.flux) < 1.5 * flux_error(clean))
    assert result.reduced_chi2.max() < 1.4


def test_a_bright_star_with_an_imperfect_psf_keeps_its_core():
    sky = simulate(9, 30, 1e6)
    wide = 0.8 * sky.kernels.values + 0.2 * convolve_target(sky.kernels.values, 3.0)
    wrong = attrs.evolve(sky.kernels, values=wide)
    result = StarredPhotometry().measure(sky.stamps, wrong)
    assert result.outliers.sum() < 5
    np.testing.assert_allclose(result.flux, sky.flux, rtol=0.03)
    assert "reduced chi2" in result.status[0].reason


def test_masked_pixels():
    n = 300
    sky = simulate(10, n, 60)
    rng = np.random.default_rng(11)
    mask = rng.random(sky.stamps.data.shape) < 0.15
    data, noise = sky.stamps.data.copy(), sky.stamps.noise.copy()
    data[mask] = rng.choice([np.nan, np.inf, 1e9], mask.sum())
    bare = rng.random(mask.shape) < 0.02
    data[bare] = np.nan  # not in the mask, and yet no number
    noise[rng.random(mask.shape) < 0.01] = 0.0
    result = StarredPhotometry().measure(attrs.evolve(sky.stamps, data=data, noise=noise, mask=mask), sky.kernels)
    pull = (result.flux - sky.flux) / flux_error(result)
    assert abs(pull.mean()) < 3.5 / np.sqrt(n)
    assert abs(pull.std() - 1) < 0.05 + 2.5 / np.sqrt(2 * n)
    full = StarredPhotometry().measure(sky.stamps, sky.kernels)
    ratio = np.median(flux_error(result) / flux_error(full))
    assert ratio == pytest.approx(1 / np.sqrt(1 - 0.17), rel=0.05)


def test_what_can_not_be_measured_fails_alone():
    sky = simulate(12, 5, 60)
    mask = sky.stamps.mask.copy()
    mask[1] = True
    mask[2, 6:18, 6:18] = True
    kernels = sky.kernels.values.copy()
    kernels[3] = np.nan
    result = StarredPhotometry().measure(attrs.evolve(sky.stamps, mask=mask), attrs.evolve(sky.kernels, values=kernels))
    states = [s.state for s in result.status]
    assert states == [FitState.CONVERGED] + [FitState.FAILED] * 3 + [FitState.CONVERGED]
    assert "usable pixels" in result.status[1].reason
    assert np.isnan(result.flux[1:4]).all()
    assert np.isfinite(result.flux[[0, 4]]).all()
    assert np.isfinite(result.model).all()


def test_stamps_without_a_kernel_each():
    sky = simulate(12, 5, 60)
    with pytest.raises(UnusableInput, match="5 stamps came with 4"):
        StarredPhotometry().measure(sky.stamps, attrs.evolve(sky.kernels, values=sky.kernels.values[:4]))


@pytest.mark.parametrize("joint", [False, True])
def test_no_stamps(joint):
    sky = simulate(12, 1, 60)
    none = Stamps(sky.stamps.data[:0], sky.stamps.noise[:0], sky.stamps.mask[:0], sky.stamps.offset[:0])
    empty = attrs.evolve(sky.kernels, values=sky.kernels.values[:0])
    result = StarredPhotometry(starlet_background=joint).measure(none, empty)
    assert len(result.flux) == 0
    assert result.model.shape == (0, 24, 24)


def test_answers_do_not_depend_on_the_batch():
    sky = simulate(13, 150, 20)
    together = StarredPhotometry().measure(sky.stamps, sky.kernels)
    one = slice(101, 102)
    stamps = Stamps(*(getattr(sky.stamps, name)[one] for name in ("data", "noise", "mask", "offset")))
    alone = StarredPhotometry().measure(stamps, attrs.evolve(sky.kernels, values=sky.kernels.values[one]))
    np.testing.assert_allclose(alone.flux, together.flux[one], rtol=1e-6)


def test_float32_stamps():
    sky = simulate(14, 10, 60)
    single = attrs.evolve(sky.stamps, data=sky.stamps.data.astype("f4"), noise=sky.stamps.noise.astype("f4"))
    kernels = attrs.evolve(sky.kernels, values=sky.kernels.values.astype("f4"))
    result = StarredPhotometry().measure(single, kernels)
    np.testing.assert_allclose(result.flux, StarredPhotometry().measure(sky.stamps, sky.kernels).flux, rtol=1e-5)


def test_speed():
    sky = simulate(15, 120, 100, registration=0.1)
    begin = time.process_time()
    StarredPhotometry().measure(sky.stamps, sky.kernels)
    assert time.process_time() - begin < 1.0  # 0.1 s on an idle core


def nebulous(seed: int, epochs: int, share: float) -> tuple[Sky, np.ndarray]:
    """A star of varying brightness in all epochs, with a smooth neighbour of `share` of its light 5 pixels off."""
    sky = simulate(seed, epochs, 60, registration=0.1)
    rng = np.random.default_rng(seed)
    flux = np.mean(sky.flux) * np.exp(0.2 * rng.standard_normal(epochs))
    host = np.zeros_like(sky.unit)
    for dx, dy in rng.normal([5.0, -2.0], 1.5, (150, 2)):
        x, y = sky.position[:, 0] + dx, sky.position[:, 1] + dy
        host += share * np.mean(flux) / 150 * point_sources(sky.kernels.values, x, y, 24, 2, 2.0)
    scene = flux[:, None, None] * sky.unit + host
    noise = np.sqrt(SKY**2 + scene)
    data = scene + noise * rng.standard_normal(scene.shape)
    return attrs.evolve(sky, stamps=attrs.evolve(sky.stamps, data=data, noise=noise), flux=flux), host


def test_a_shared_background_takes_a_neighbour_off():
    sky, host = nebulous(16, 8, 0.4)
    plain = StarredPhotometry().measure(sky.stamps, sky.kernels)
    joint = StarredPhotometry(starlet_background=True).measure(sky.stamps, sky.kernels)
    wrong = np.mean(plain.flux / sky.flux - 1)
    assert wrong > 0.03
    assert abs(np.mean(joint.flux / sky.flux - 1)) < 0.3 * wrong + 2 * np.mean(flux_error(joint) / sky.flux) / np.sqrt(
        8
    )
    pull = (joint.flux - sky.flux) / flux_error(joint)
    assert pull.std() < 1.8
    assert plain.reduced_chi2.mean() > 1.1
    assert joint.reduced_chi2.mean() == pytest.approx(1.0, abs=0.08)
    assert all(s.usable for s in joint.status)
    recovered = joint.model - joint.flux[:, None, None] * sky.unit
    assert np.corrcoef(recovered.ravel(), host.ravel())[0, 1] > 0.9


def test_a_shared_background_of_an_empty_sky_changes_little():
    sky = simulate(17, 8, 60)
    plain = StarredPhotometry().measure(sky.stamps, sky.kernels)
    data = sky.stamps.data.copy()
    data[3, 5, 6] += 100 * SKY
    joint = StarredPhotometry(starlet_background=True).measure(attrs.evolve(sky.stamps, data=data), sky.kernels)
    assert joint.outliers[3, 5, 6]
    assert np.abs((joint.flux - plain.flux) / flux_error(plain)).mean() < 0.5


def test_a_fit_that_does_not_settle_says_which_pixels_it_left_out(monkeypatch):
    sky = simulate(19, 8, 60)
    masks = np.zeros((9, *sky.stamps.data.shape), bool)
    masks[range(9), 0, 2, range(9)] = True  # another pixel each round
    seen = iter(masks)
    for name in ("first_outliers", "remaining_outliers"):
        monkeypatch.setattr(starred, name, lambda *_: next(seen))
    joint = StarredPhotometry(starlet_background=True).measure(sky.stamps, sky.kernels)
    assert np.array_equal(joint.outliers, masks[starred._JOINT_ROUNDS - 1])


def test_gauss_newton_reaches_the_least_chi2():
    from scipy.optimize import minimize

    sky = simulate(18, 3, 30)
    stamps = PointSourceStamps(
        sky.stamps.data, sky.stamps.noise**-2.0, sky.kernels.values, 2, 2.0, sky.stamps.offset, 1.0, pedestal=False
    )
    fit = fit_point_sources(stamps)
    for i in range(3):

        def objective(p, i=i):
            image = point_sources(sky.kernels.values[i], np.float64(p[1]), np.float64(p[2]), 24, 2, 2.0)
            chi2 = np.sum(((sky.stamps.data[i] - 1e3 * p[0] * image) / sky.stamps.noise[i]) ** 2)
            return chi2 + np.sum((p[1:] - sky.stamps.offset[i]) ** 2)

        start = [sky.flux[i] / 1e3, *sky.stamps.offset[i]]
        other = minimize(objective, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9, "maxfev": 2000})
        assert objective([fit.flux[i] / 1e3, *fit.position[i]]) <= other.fun + 1e-5
        assert fit.flux[i] == pytest.approx(1e3 * other.x[0], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "signal"), [(19, 100), (21, 60), (22, 300), (23, 1000)])
def test_equals_starreds_joint_fit(seed, signal):
    """Within a tenth of the error, over stars of different brightness with a PSF of its own in each of six epochs."""
    from starred.deconvolution.deconvolution import setup_model
    from starred.deconvolution.loss import Loss
    from starred.deconvolution.parameters import ParametersDeconv
    from starred.optim.optimization import Optimizer

    n, size = 6, 16
    sky = simulate(seed, n, signal, size=size)
    rng = np.random.default_rng(seed + 1)
    # One place in all epochs: STARRED would resample a shifted point source, which widens it.
    x, y = np.full(n, 0.13), np.full(n, -0.22)
    scene = sky.flux[:, None, None] * point_sources(sky.kernels.values, x, y, size, 2, 2.0)
    noise = np.sqrt(SKY**2 + scene)
    data = scene + noise * rng.standard_normal(scene.shape)
    stamps = attrs.evolve(sky.stamps, data=data, noise=noise, offset=np.zeros((n, 2)))
    ours = StarredPhotometry().measure(stamps, sky.kernels)

    scale = data.max()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        variance = (noise / scale) ** 2
        guess = list(data.sum(axis=(1, 2)) / scale)
        model, initial, upper, lower, _ = setup_model(
            data / scale, variance, sky.kernels.values, np.zeros(1), np.zeros(1), 2, guess
        )
        analytic = initial["kwargs_analytic"]
        fixed = {
            "kwargs_analytic": {"alpha": analytic["alpha"], "dx": np.zeros(n), "dy": np.zeros(n)},
            "kwargs_background": {"h": initial["kwargs_background"]["h"], "mean": np.zeros(n)},
            "kwargs_sersic": {},
        }
        parameters = ParametersDeconv(kwargs_init=initial, kwargs_fixed=fixed, kwargs_up=upper, kwargs_down=lower)
        loss = Loss(data / scale, model, parameters, variance, regularization_terms="l1_starlet")
        Optimizer(loss, parameters, method="adabelief").minimize(
            max_iterations=1000, init_learning_rate=1e-3, schedule_learning_rate=True, progress_bar=False
        )
        theirs = scale * np.array(parameters.best_fit_values(as_kwargs=True)["kwargs_analytic"]["a"])
    difference = (ours.flux - theirs) / flux_error(ours)
    print(f"signal-to-noise {signal}: differences in errors {np.array2string(difference, precision=3)}")
    assert np.abs(difference).max() < 0.1


def test_plugin():
    assert lcf_photometry() == {"starred": StarredPhotometry}
    assert StarredPhotometry().joint is False
    assert StarredPhotometry(starlet_background=True).joint is True
    assert pickle.loads(pickle.dumps(StarredPhotometry(starlet_background=True))).joint
    with pytest.raises(ValueError, match="position_prior must be positive"):
        StarredPhotometry(position_prior=0.0)
