from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest
from astropy.io import fits
from small_sky import small_sky

from lcframework.roi.unnamed_sources import unnamed_sources
from lcframework.testing.regions import Galaxy, quad, simulate
from lcframework.types import FitState, PointSources, RoiFit, UnusableInput
from plugins_builtin.engine.psf.distortion import distort
from plugins_builtin.engine.roi.geometry import Epochs, prepare
from plugins_builtin.engine.roi.interpolation import Alignment, align
from plugins_builtin.engine.roi.penalties import (
    GaussianPriors,
    Strengths,
    Values,
    slit_weights,
    starlet_weights,
)
from plugins_builtin.engine.roi.starlet_objective import StarletObjective
from plugins_builtin.engine.roi.starred_fit import StarredSettings, fit_starred
from plugins_builtin.engine.starlet import details, details_transposed
from plugins_builtin.roi_models.starred import Starred

QUICK = {"iterations_all": 120, "iterations_translations": 30}


def errors(fit: RoiFit) -> np.ndarray:
    return np.sqrt(np.einsum("ekk->ek", fit.covariance))


def common(fit: RoiFit) -> np.ndarray:
    return np.sqrt(np.einsum("ekk->ek", fit.common_covariance))


# ---------------------------------------------------------------- the objective against STARRED's own


def problem(kernel: int = 24, **strengths: float) -> tuple[Epochs, Alignment, StarletObjective, Values]:
    cutouts, sources, truth = simulate(small_sky(3, rotation=0.05, kernel=kernel), 0)
    epochs = prepare(cutouts, sources)
    alignment = align(epochs, np.zeros(2))
    rng = np.random.default_rng(0)
    iv = 1 / epochs.variance
    weights = slit_weights(iv.sum(axis=0), epochs.kernels.mean(axis=0), 2)
    c = sources.offset @ epochs.transform[0][:, :2].T + epochs.transform[0][:, 2] - 8.5
    priors = GaussianPriors(c + 0.01, np.full((2, 2), 0.1), alignment.translation + 0.02, np.full((3, 2), 0.05))
    objective = StarletObjective(epochs, alignment, iv, weights, Strengths(**strengths), priors)
    values = Values(
        truth.flux + rng.normal(size=(3, 2)),
        c,
        alignment.translation + 0.01 * rng.normal(size=(3, 2)),
        rng.normal(size=3),
        2 * rng.normal(size=(36, 36)) + 1,
    )
    return epochs, alignment, objective, values


@pytest.mark.filterwarnings("ignore:The narrow PSF does not have the same size")
@pytest.mark.parametrize("kernel", [pytest.param(24, marks=pytest.mark.slow), 23])
def test_the_objective_is_starred_s(benchmark_module, kernel):
    strengths = {"flux_scatter": 3.0, "high_frequency": 2.0, "positivity": 50.0, "point_sources": 0.02}
    _, _, objective, values = problem(kernel, **strengths)
    theirs = benchmark_module("roi_starred_loss").Theirs(objective, values, Strengths(**strengths)).value()
    assert objective.value(values) == pytest.approx(theirs, rel=5e-6)  # STARRED computes in float32


@pytest.mark.parametrize("exact", [False, True])
def test_the_gradient_is_that_of_the_value(exact):
    epochs, alignment, objective, values = problem(flux_scatter=3.0)
    objective = StarletObjective(
        epochs,
        alignment,
        objective.inverse_variance,
        objective.penalties.weights,
        objective.penalties.strengths,
        objective.penalties.priors,
        exact,
    )
    objective.penalties.smoothing = 0.01
    # Linear interpolation has kinks at whole small pixels: stay off them.
    values.translation = values.translation + 0.13
    _, gradient = objective.value_and_gradient(values)
    rng = np.random.default_rng(1)
    for name in ("flux", "c", "translation", "sky", "h"):
        direction = rng.normal(size=getattr(values, name).shape)
        ends = [attrs.evolve(values, **{name: getattr(values, name) + h * direction}) for h in (1e-5, -1e-5)]
        slope = (objective.value_and_gradient(ends[0])[0] - objective.value_and_gradient(ends[1])[0]) / 2e-5
        assert (getattr(gradient, name) * direction).sum() == pytest.approx(slope, rel=1e-4), name


@pytest.mark.filterwarnings("ignore:The narrow PSF does not have the same size")
def test_starlet_weights_are_what_starred_propagates():
    from starred.deconvolution.deconvolution import Deconv
    from starred.utils.noise_utils import propagate_noise

    epochs, _, _, _ = problem()
    noise = np.sqrt(epochs.variance)
    model = Deconv(18, 1, 1.0, 2, 3, epochs.kernels, convolution_method="scipy")
    iv = 3 / epochs.variance[0]
    options = {"wavelet_type_list": ["starlet"], "likelihood_type": "chi2", "upsampling_factor": 2}
    slit = propagate_noise(model, noise, {}, method="SLIT", **options)[0]
    np.testing.assert_allclose(slit_weights(iv, epochs.kernels[0], 2), slit[:-1], rtol=1e-3)
    drawn = propagate_noise(model, noise, {}, method="MC", num_samples=200, seed=1, **options)[0]
    ratio = starlet_weights(iv, epochs.kernels[0], 2) / drawn[:-1]
    # 200 draws know a standard deviation to 5 %; pixels of a scale are not independent.
    np.testing.assert_allclose(np.median(ratio, axis=(1, 2)), 1.0, atol=0.05)


def test_the_starlets_transpose():
    rng = np.random.default_rng(0)
    image, coefficients = rng.normal(size=(32, 32)), rng.normal(size=(5, 32, 32))
    left = (details(image) * coefficients).sum()
    assert (image * details_transposed(coefficients)).sum() == pytest.approx(left)


# ---------------------------------------------------------------- the plugin


@pytest.fixture(scope="module")
def scene():
    return simulate(small_sky(), 1)


@pytest.fixture(scope="module")
def fitted(scene):
    cutouts, sources, _ = scene
    return Starred().fit(cutouts, sources)


def test_recovers_blended_sources_on_a_galaxy(scene, fitted):
    _, _, truth = scene
    assert fitted.status.state is FitState.CONVERGED, fitted.status
    total = np.hypot(errors(fitted), common(fitted))
    assert np.all(np.abs(fitted.flux - truth.flux) < 4.5 * total)
    assert np.all(np.linalg.eigvalsh(fitted.covariance) > 0)
    np.testing.assert_allclose(fitted.covariance, fitted.covariance.swapaxes(1, 2), rtol=1e-6)
    assert np.all(np.abs(fitted.reduced_chi2 - 1) < 6 * np.sqrt(2 / 324))
    assert np.abs(fitted.offset - truth.offset).max() < 0.03
    assert fitted.high_resolution.background.shape == (36, 36)
    assert fitted.loss_history[-1] < max(fitted.loss_history)


def test_a_star_in_an_empty_field_has_its_flux_and_no_more():
    """The background neither takes nor gives; interpolated sources are too wide, and brighter for it."""
    star = np.array([[0.13, 0.08]])
    sky = small_sky(4, sources=star, flux=np.full((4, 1), 3000.0), galaxies=(), scale=0.35)
    cutouts, sources, _ = simulate(sky, 3)
    exact, interpolated = (Starred(point_sources=p, **QUICK).fit(cutouts, sources) for p in ("exact", "interpolated"))
    level = [np.average(fit.flux[:, 0] / 3000.0 - 1, weights=errors(fit)[:, 0] ** -2) for fit in (exact, interpolated)]
    noise = float(np.sum(errors(exact) ** -2) ** -0.5 / 3000)
    assert noise < 0.001
    assert abs(level[0]) < 3 * noise
    assert level[1] > 10 * noise
    # What interpolation adds is in the common error.
    assert common(interpolated).mean() / 3000 == pytest.approx(level[1], abs=3 * noise)


def test_the_background_digs_no_bowl_around_a_star_whose_psf_is_too_wide():
    """With a sky of its own for each epoch, a constant background would leave room for one."""
    star = np.array([[0.13, 0.08]])
    sky = small_sky(4, sources=star, flux=np.full((4, 1), 1000.0), galaxies=(), stamp=26, kernel=40)
    cutouts, sources, _ = simulate(sky, 3)
    wide = np.array(
        [distort(k, np.array([0.02, 0, 0.02, 0, 0, 0]), np.array([1.0, 0.0])) for k in cutouts.kernels.values]
    )
    cutouts = attrs.evolve(cutouts, kernels=attrs.evolve(cutouts.kernels, values=wide))
    alone, tied, free = (
        Starred(**options).fit(cutouts, sources)
        for options in ({"background": False}, QUICK, {"sky_prior": 0.0, **QUICK})
    )
    assert (free.flux / alone.flux).mean() > 1.008
    assert (tied.flux / alone.flux).mean() == pytest.approx(1.0, abs=0.5 * ((free.flux / alone.flux).mean() - 1))


def test_a_source_without_a_name_is_told_from_the_galaxy(scene, fitted):
    """The background takes it up, and the residuals show nothing of it."""
    cutouts, sources, truth = scene
    fit = Starred(**QUICK).fit(cutouts, PointSources(("A",), sources.offset[:1]))
    (found,) = unnamed_sources(cutouts, fit)
    np.testing.assert_allclose(found.offset, sources.offset[1], atol=0.1)
    assert found.flux == pytest.approx(truth.flux[:, 1].mean(), rel=0.25)
    assert unnamed_sources(cutouts, fitted) == []


def test_random_covariance_is_the_inverse_of_the_epoch_s_fisher_matrix():
    """By finite differences of the objective's own model, for two sources 0.7 arcsec apart."""
    cutouts, sources, _ = simulate(small_sky(sources=np.array([[0.3, 0.2], [-0.25, -0.2]])), 1)
    epochs = prepare(cutouts, sources)
    solution = fit_starred(epochs, sources.offset, StarredSettings(iterations_all=5, iterations_translations=5))
    objective, values = solution.objective, solution.values
    from plugins_builtin.engine.roi.starred_errors import random_covariance

    stated = random_covariance(solution, np.ones((3, 2), bool))
    e, columns = 1, []
    moves = [("flux", (e, 0), 1.0), ("flux", (e, 1), 1.0), ("sky", (e,), 0.1), ("translation", (e, 0), 2e-3)]
    for name, index, step in [*moves, ("translation", (e, 1), 2e-3)]:
        images = []
        for sign in (1, -1):
            array = getattr(values, name).copy()
            array[index] += sign * step
            images.append(objective.model(attrs.evolve(values, **{name: array}))[e])
        columns.append((images[0] - images[1]).ravel() / (2 * step))
    columns.append(objective.background(values)[e].ravel())
    design = np.array(columns) * np.sqrt(objective.inverse_variance[e]).ravel()
    fisher = design @ design.T
    fisher[3:5, 3:5] += np.linalg.inv(solution.shift_covariance[e])
    fisher[5, 5] += 1 / cutouts.normalization_error[e] ** 2
    assert stated[e, 0, 1] < -0.1 * stated[e, 0, 0]
    np.testing.assert_allclose(stated[e], np.linalg.inv(fisher)[:2, :2], rtol=0.05)


def test_a_cosmic_ray_is_clipped(scene, fitted):
    cutouts, sources, _ = scene
    data, noise = cutouts.data.copy(), cutouts.noise.copy()
    data[1, 7, 8:11] += 60.0
    noise[1, 7, 8:11] = np.sqrt(0.25**2 + data[1, 7, 8:11] / 300)
    fit = Starred(**QUICK).fit(attrs.evolve(cutouts, data=data, noise=noise), sources)
    assert fit.outliers[1, 7, 8:11].all()
    assert fit.outliers.sum() < 8
    assert np.all(np.abs(fit.flux - fitted.flux) < 3 * np.hypot(errors(fitted), common(fitted)))


def test_a_masked_epoch_has_no_flux_and_breaks_no_other(scene, fitted):
    cutouts, sources, _ = scene
    mask, data = cutouts.mask.copy(), cutouts.data.copy()
    mask[1] = True
    mask[2, 3, 4] = True
    data[2, 3, 4] = np.nan
    fit = Starred(**QUICK).fit(attrs.evolve(cutouts, mask=mask, data=data), sources)
    assert np.isnan(fit.flux[1]).all()
    assert np.isnan(fit.covariance[1]).all()
    others = [0, 2]
    assert np.all(np.abs(fit.flux - fitted.flux)[others] < 3 * np.hypot(errors(fitted), common(fitted))[others])


def test_without_background_one_star_in_one_epoch():
    sky = small_sky(1, sources=np.array([[0.1, 0.2]]), flux=np.array([[1500.0]]), galaxies=())
    cutouts, sources, truth = simulate(sky, 2)
    fit = Starred(background=False).fit(cutouts, sources)
    assert np.abs(fit.flux - truth.flux) < 4 * errors(fit) + 0.02 * truth.flux
    np.testing.assert_allclose(fit.high_resolution.background, 0.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"galaxies": ()},
        {"galaxies": (Galaxy(700.0, xi=0.9, eta=0.8, radius=0.5, index=2.0),)},
        {"galaxies": tuple(Galaxy(500.0, xi=s, eta=0.8 * s, radius=0.4, index=1.5) for s in (1.0, -0.9))},
        {"hidden_shift": 0.15},
    ],
    ids=["no galaxy", "host off centre", "two galaxies", "inexact WCS"],
)
def test_skies_that_are_not_one_galaxy_in_the_middle(changes):
    cutouts, sources, truth = simulate(small_sky(**changes), 6)
    fit = Starred(**QUICK).fit(cutouts, sources)
    assert np.all(np.abs(fit.flux - truth.flux) < 4.5 * np.hypot(errors(fit), common(fit)))


def test_stamps_that_are_not_square(scene, fitted):
    cutouts, sources, _ = scene
    cut = attrs.evolve(cutouts, data=cutouts.data[:, :16], noise=cutouts.noise[:, :16], mask=cutouts.mask[:, :16])
    fit = Starred(**QUICK).fit(cut, sources)
    assert fit.model.shape == (3, 16, 18)
    assert np.all(np.abs(fit.flux - fitted.flux) < 2 * np.hypot(errors(fitted), common(fitted)))


# ---------------------------------------------------------------- each option does what it says


def test_fix_astrometry(scene):
    cutouts, sources, truth = scene
    displaced = attrs.evolve(sources, offset=sources.offset + np.array([[0.03, -0.03], [-0.03, 0.02]]))
    quick = {"iterations_all": 60, "iterations_translations": 30}
    fits_ = [Starred(fix_astrometry=f, **quick).fit(cutouts, displaced) for f in (True, 0.02, False)]
    held, tied, free = (np.abs(f.offset - displaced.offset).max() for f in fits_)
    assert held < 1e-5 < tied < free
    assert np.abs(fits_[2].offset - truth.offset).max() < 0.02


def test_a_background_given_and_held_gives_the_same_fluxes_and_is_not_changed(scene, fitted, tmp_path: Path):
    cutouts, sources, _ = scene
    image = fitted.high_resolution.background
    np.save(tmp_path / "b.npy", image)
    fits.writeto(tmp_path / "b.fits", image)
    for name in ("b.npy", "b.fits"):
        fit = Starred(starting_background=tmp_path / name, optimize_background=False).fit(cutouts, sources)
        np.testing.assert_allclose(fit.high_resolution.background, image)
        assert np.all(np.abs(fit.flux - fitted.flux) < errors(fitted))
        # With the background known, nothing but positions is common to the epochs.
        assert np.all(common(fit) < common(fitted))
    started = Starred(starting_background=tmp_path / "b.npy", iterations_all=0).fit(cutouts, sources)
    np.testing.assert_allclose(started.high_resolution.background, image)
    refined = Starred(starting_background=tmp_path / "b.npy", **QUICK).fit(cutouts, sources)
    assert np.abs(refined.high_resolution.background - image).max() > 0


def test_a_starting_background_that_does_not_fit_is_explained(scene, tmp_path: Path):
    cutouts, sources, _ = scene
    np.save(tmp_path / "small.npy", np.zeros((10, 10)))
    with pytest.raises(UnusableInput, match="36 x 36 small pixels"):
        Starred(starting_background=tmp_path / "small.npy").fit(cutouts, sources)
    with pytest.raises(UnusableInput, match="can't be read"):
        Starred(starting_background=tmp_path / "absent.fits").fit(cutouts, sources)
    assert Starred(starting_background="").starting_background is None


def test_regularisation_strengths(scene, fitted):
    cutouts, sources, _ = scene

    def roughness(fit: RoiFit, scales: slice) -> float:
        return float(np.abs(details(fit.high_resolution.background)[scales]).sum())

    strong = Starred(regularization_high_frequency=50.0, **QUICK).fit(cutouts, sources)
    assert roughness(strong, slice(0, 1)) < 0.7 * roughness(fitted, slice(0, 1))
    strong = Starred(regularization_scales=300.0, **QUICK).fit(cutouts, sources)
    assert roughness(strong, slice(1, None)) < 0.7 * roughness(fitted, slice(1, None))


def test_positivity(scene):
    cutouts, sources, _ = scene
    free, held = (Starred(regularization_positivity=p, **QUICK).fit(cutouts, sources) for p in (0.0, 1e4))
    lowest = [f.high_resolution.background.min() for f in (free, held)]
    assert lowest[0] < 10 * lowest[1] < 0 or lowest[1] >= 0 > lowest[0]


@pytest.mark.slow
def test_point_source_penalty_lowers_their_flux(scene):
    cutouts, sources, _ = scene
    weak, strong = (Starred(regularization_point_sources=p, **QUICK).fit(cutouts, sources) for p in (0.0, 3.0))
    assert strong.flux.sum() < weak.flux.sum()


@pytest.mark.slow
def test_flux_scatter_is_penalised_in_the_step_that_is_asked(scene):
    cutouts, sources, _ = scene

    def scatter(fit: RoiFit) -> float:
        return float((fit.flux / fit.flux.mean(axis=0)).std())

    first = [
        Starred(regularization_flux_scatter_first=p, iterations_all=0).fit(cutouts, sources) for p in (0.0, 2000.0)
    ]
    assert scatter(first[1]) < 0.9 * scatter(first[0])
    second = [Starred(regularization_flux_scatter=p, **QUICK).fit(cutouts, sources) for p in (0.0, 2000.0)]
    assert scatter(second[1]) < 0.9 * scatter(second[0])


def test_iterations_bound_the_fit_and_the_status_says_so(scene):
    cutouts, sources, _ = scene
    fit = Starred(iterations_all=3).fit(cutouts, sources)
    assert fit.status.state is FitState.BOUND
    assert "iterations_all" in fit.status.reason
    stopped = Starred(iterations_translations=0, iterations_all=0).fit(cutouts, sources)
    assert len(stopped.loss_history) < len(fit.loss_history)


def test_a_source_outside_the_stamps_is_named(scene):
    cutouts, _, _ = scene
    far = PointSources(("A", "far"), np.array([[0.6, 0.3], [30.0, 0.0]]))
    with pytest.raises(UnusableInput, match=r"far \(at x"):
        Starred().fit(cutouts, far)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fix_astrometry": 0.0}, "fix_astrometry must be true"),
        ({"iterations_all": -1}, "must not be negative"),
        ({"regularization_scales": -1.0}, "must not be negative"),
        ({"noise_propagation": "mc"}, "'slit', 'exact'"),
        ({"point_sources": "auto"}, "'exact', 'interpolated'"),
    ],
)
def test_options_teach(options, message):
    with pytest.raises(ValueError, match=message):
        Starred(**options)


# ---------------------------------------------------------------- slow


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", [1, 2])
def test_starred_s_own_optimisers_do_not_get_lower(benchmark_module, seed, capsys):
    """From four starts, each with ten times our CPU time; `benchmarks/roi_starred_loss.py` does so on quads."""
    (_, _, ours, _, _), *rows = benchmark_module("roi_starred_loss").compare(simulate(small_sky(rotation=0.01), seed))
    with capsys.disabled():
        print(
            f"\nseed {seed}: {ours:.2f}, STARRED",
            {(start, method): round(above, 2) for start, method, above, *_ in rows},
        )
    assert len(rows) == 8
    assert min(above for start, _, above, *_ in rows if start != "ours") > 0
    # From our own solution they go down by what matters to no flux: chi2 changes by one for a flux off by its error.
    assert min(above for start, _, above, *_ in rows if start == "ours") > -0.5


@pytest.mark.slow
def test_light_curves_of_quads_scatter_as_their_errors_say():
    cutouts, sources, truth = simulate(quad(12, 0), 0)
    for kind in ("exact", "interpolated"):
        fit = Starred(point_sources=kind).fit(cutouts, sources)
        difference = fit.flux - truth.flux
        mean = np.average(difference, axis=0, weights=1 / errors(fit) ** 2)
        pull = (difference - mean) / errors(fit) * np.sqrt(12 / 11)
        assert 0.75 < pull.std() < 1.3
        assert np.median(np.abs(mean / truth.flux.mean(axis=0))) < 0.05
