"""What an error of the PSF does to blended fluxes, against fits with a wrong PSF."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from scipy.optimize import least_squares

from lcframework.testing.regions import Galaxy, Sky, render_galaxies, render_point, simulate
from plugins_builtin.engine.roi import psf_error as module
from plugins_builtin.engine.roi.geometry import prepare
from plugins_builtin.engine.roi.psf_error import Fitted, without_misfit
from plugins_builtin.roi_models.joint import Joint

GALAXY = Galaxy(500.0, 0.05, -0.1, radius=0.6, index=2.0)
SOURCES = np.array([[0.5, 0.4], [-0.35, 0.1], [0.1, -0.5]])


def scene(sources=SOURCES, flux=(900.0, 500.0, 300.0), galaxies=(GALAXY,)):
    sky = Sky(sources, np.array([flux]), galaxies, seeing=np.array([1.1]), kernel=40, stamp=32)
    return sky, *simulate(sky, 3, noise=False)


def fitted(sky, cutouts, truth):
    """A fit that found the truth."""
    big, s = 64, sky.subsampling
    transform = s * cutouts.transform[0] + np.array([[0, 0, 0.5 * (s - 1)]] * 2)
    # The background is at the target's resolution: the galaxy through a kernel that is a point.
    fine = attrs.evolve(sky, stamp=big, subsampling=1, kernel=9, scale=sky.scale / s)
    point = np.zeros((9, 9))
    point[4, 4] = 1.0
    background = render_galaxies(fine, transform, point)
    return Fitted(
        truth.offset, truth.flux, np.zeros(1), truth.shift, truth.noiseless, 1 / truth.variance,
        1e-4 * np.eye(2)[None], np.ones(truth.flux.shape, bool), background, transform,
    )  # fmt: skip


def wrong_kernel(kernel, rng):
    """A kernel with an error as noise makes it: uncorrelated over more than a pixel, largest where there is light."""
    from scipy.ndimage import gaussian_filter

    error = gaussian_filter(rng.standard_normal(kernel.shape), 1.0) * gaussian_filter(kernel, 2.0)
    return kernel + 0.1 * error


def as_measured(sky, kernel, true):
    """Scale and shift (pixels) with which a star of the true kernel is fitted by `kernel`; the star's error."""
    star = attrs.evolve(sky, stamp=20)
    data = render_point(star, np.array([9.5, 9.5]), true)

    def residual(p):
        return ((1 + p[0]) * render_point(star, 9.5 + p[1:], kernel) - data).ravel() * 1e3

    return least_squares(residual, np.zeros(3)).x, render_point(star, np.array([9.5, 9.5]), kernel) - data


def flux_with(sky, cutouts, truth, kernel, coefficient, offset):
    """Fluxes that a fit to the true image finds with a wrong kernel; positions and galaxy are as they are."""
    transform = cutouts.transform[0].copy()
    transform[:, 2] += truth.shift[0] + offset
    sigma = np.sqrt(truth.variance[0])

    def residual(p):
        moved = transform.copy()
        moved[:, 2] += p[4:6]
        xy = truth.offset @ moved[:, :2].T + moved[:, 2]
        points = sum(f * render_point(sky, at, kernel) for f, at in zip(p[:3], xy, strict=True))
        image = points + (1 + p[6]) * render_galaxies(sky, moved, kernel) + p[3]
        return np.concatenate(
            [((image - truth.noiseless[0] / coefficient) / sigma).ravel(), p[4:6] / 1e-2, [p[6] / 1e-3]]
        )

    start = np.concatenate([truth.flux[0], np.zeros(4)])
    steps = np.r_[1.0, 1.0, 1.0, 0.1, 1e-3, 1e-3, 1e-2]
    here = residual(start)
    slopes = np.array([(residual(start + d) - here) / d.sum() for d in np.diag(steps)])
    return (start - np.linalg.solve(slopes @ slopes.T, slopes @ here))[:3]


def test_errors_of_the_psf_move_fluxes_as_fits_with_wrong_psfs_do():
    sky, cutouts, sources, truth = scene()
    kernel = cutouts.kernels.values[0]
    rng = np.random.default_rng(2)
    for _ in range(2):
        wrong = wrong_kernel(kernel, rng)
        (scale, *shift), error = as_measured(sky, wrong, kernel)
        found = flux_with(sky, cutouts, truth, wrong, 1 + scale, np.array(shift)) - truth.flux[0]
        epochs = prepare(attrs.evolve(cutouts, psf_precision=np.ones((1, 20, 20))), sources)
        influence = module._influence(epochs, 0, fitted(sky, cutouts, truth), 20)
        star = module._single_star(epochs, 0, 20)
        left = error.ravel() - star.T @ np.linalg.solve(star @ star.T, star @ error.ravel())
        assert abs(found).max() > 1.0
        np.testing.assert_allclose(influence @ left, found, atol=0.12 * abs(found).max())


def test_what_the_stars_show_of_the_psfs_error_is_taken_off():
    """Fluxes that a wrong PSF gave are the true ones again, and so is the light that it puts at the sources."""
    sky, cutouts, sources, truth = scene()
    kernel = cutouts.kernels.values[0]
    wrong = wrong_kernel(kernel, np.random.default_rng(2))
    (scale, *shift), error = as_measured(sky, wrong, kernel)
    moved = flux_with(sky, cutouts, truth, wrong, 1 + scale, np.array(shift))
    known = attrs.evolve(cutouts, psf_precision=np.ones((1, 20, 20)), psf_residual=-error[None])
    fit = attrs.evolve(fitted(sky, cutouts, truth), flux=moved[None])
    corrected, _ = without_misfit(prepare(known, sources), fit)
    off = abs(moved - truth.flux[0]).max()
    assert off > 1.0
    np.testing.assert_allclose(corrected.flux, truth.flux, atol=0.15 * off)
    at = truth.offset @ cutouts.transform[0][:, :2].T + cutouts.transform[0][:, 2] + truth.shift[0]
    change = corrected.flux[0] - moved
    light = sum(c * render_point(sky, xy, kernel) for c, xy in zip(change, at, strict=True))
    np.testing.assert_allclose(corrected.model[0] - fit.model[0], light, atol=1e-4 * abs(light).max())


def test_the_covariance_is_that_of_the_mean_stars_noise():
    """Fluxes corrected by noise of the stated precision scatter by the stated covariance, between sources as well."""
    sky, cutouts, sources, truth = scene()
    rng = np.random.default_rng(8)
    precision = 1e6 * rng.uniform(0.5, 2.0, (1, 20, 20))
    epochs = prepare(attrs.evolve(cutouts, psf_precision=precision), sources)
    fit = fitted(sky, cutouts, truth)
    draws = [
        without_misfit(attrs.evolve(epochs, psf_residual=rng.standard_normal(precision.shape) / precision**0.5), fit)
        for _ in range(300)
    ]
    covariance = draws[0][1][0]
    change = np.array([corrected.flux[0] for corrected, _ in draws]) - truth.flux[0]
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), change.T)
    np.testing.assert_allclose(whitened @ whitened.T / len(draws), np.eye(3), atol=0.3)
    assert np.mean(whitened**2) == pytest.approx(1.0, abs=0.15)


def test_an_isolated_source_has_next_to_none():
    sky, cutouts, sources, truth = scene(np.array([[0.1, 0.2]]), (900.0,), ())
    precision = np.full((1, 20, 20), 1e8)
    epochs = prepare(attrs.evolve(cutouts, psf_precision=precision), sources)
    found = attrs.evolve(fitted(sky, cutouts, truth), background=np.zeros((8, 8)))
    influence = module._influence(epochs, 0, found, 20)
    not_cancelled = (influence**2).sum() / 1e8
    assert 0 <= without_misfit(epochs, found)[1][0, 0, 0] < 0.1 * not_cancelled


def test_blended_sources_have_the_more_the_fainter_the_stars():
    sky, cutouts, sources, truth = scene()
    epochs = [prepare(attrs.evolve(cutouts, psf_precision=np.full((1, 20, 20), p)), sources) for p in (1e6, 4e6)]
    one, other = (without_misfit(e, fitted(sky, cutouts, truth))[1] for e in epochs)
    np.testing.assert_allclose(one, 4 * other)
    assert (np.linalg.eigvalsh(one[0]) > 0).all()


@pytest.mark.parametrize("precision", [np.zeros((0, 0, 0)), np.zeros((1, 20, 20)), np.full((1, 20, 20), np.nan)])
def test_without_a_precision_there_is_none(precision):
    sky, cutouts, sources, truth = scene()
    epochs = prepare(attrs.evolve(cutouts, psf_precision=precision), sources)
    corrected, covariance = without_misfit(epochs, fitted(sky, cutouts, truth))
    assert not covariance.any()
    np.testing.assert_array_equal(corrected.flux, truth.flux)


def test_where_it_is_not_known_what_the_psf_misses_its_part_of_the_variance_is_twice_the_noise_s():
    sky, cutouts, sources, truth = scene()
    precision, residual = np.full((1, 20, 20), 1e6), np.full((1, 20, 20), 1e-4)
    covariance = []
    for known in (residual, 0 * residual, np.zeros((0, 0, 0))):
        epochs = prepare(attrs.evolve(cutouts, psf_precision=precision, psf_residual=known), sources)
        covariance.append(without_misfit(epochs, fitted(sky, cutouts, truth))[1])
    np.testing.assert_allclose(covariance[1], 2 * covariance[0])
    np.testing.assert_array_equal(covariance[1], covariance[2])


def test_pixels_masked_in_all_stars_and_unseen_sources_do_no_harm():
    sky, cutouts, sources, truth = scene()
    precision = np.full((1, 20, 20), 1e6)
    precision[0, 3, 4] = 0.0
    residual = np.full((1, 20, 20), 1e-4)
    residual[0, 3, 4] = np.nan
    epochs = prepare(attrs.evolve(cutouts, psf_precision=precision, psf_residual=residual), sources)
    seen = np.array([[True, True, False]])
    corrected, covariance = without_misfit(epochs, attrs.evolve(fitted(sky, cutouts, truth), seen=seen))
    assert np.isfinite(corrected.flux).all()
    assert corrected.flux[0, 2] == truth.flux[0, 2]
    assert np.isfinite(covariance).all()
    assert (np.diag(covariance[0])[:2] > 0).all()
    assert not covariance[0, 2].any()


@pytest.mark.slow
def test_errors_with_psfs_of_faint_stars_are_right(benchmark_module):
    """Stars that are as faint as the quad: fluxes freed of what the PSFs miss scatter by their errors."""
    bench = benchmark_module("roi_accuracy")
    pulls, without = [], []
    for seed in range(3):
        sky = bench.quad(12, seed)
        cutouts, sources, truth = simulate(sky, seed)
        cutouts = bench.with_fitted_psfs(sky, cutouts, seed, 0.1 * bench.FLUXES, False, 2.0)
        alone = attrs.evolve(cutouts, psf_precision=np.zeros((0, 0, 0)))
        fits = [bench.judge(Joint().fit(c, sources), truth, truth.flux) for c in (cutouts, alone)]
        pulls.append(fits[0]["pull"])
        without.append(fits[1]["pull"])
    # Of 144 values, of which those of an epoch go together.
    assert 0.85 < np.std(pulls) < 1.2
    assert np.std(pulls) < np.std(without)
