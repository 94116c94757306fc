"""The ensemble's polynomials in detector position and its extra scatter, against simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from lcframework.types import FluxMatrix
from plugins_builtin.engine.normalization.detector_terms import monomials
from plugins_builtin.engine.normalization.ensemble import solve_ensemble
from plugins_builtin.engine.normalization.ensemble_start import robust_start
from plugins_builtin.engine.normalization.flux_table import FluxTable
from plugins_builtin.normalizations.ensemble import Ensemble

SHAPE = (500, 640)


def fluxes(seed, frames=140, stars=25, scatter=0.0, response=None, drift=270.0, signal=800.0, slow=0.0, reference=True):
    """Simulate stars that drift over the detector; `scatter` is a number or one a frame."""
    rng = np.random.default_rng(seed)
    coefficient = np.exp(0.1 * rng.standard_normal(frames))
    level = 10 ** rng.uniform(2.5, 4.0, stars)
    away = np.linspace(0, 1, frames)[:, None, None] * np.array([drift, 0.2 * drift])
    xy = rng.uniform([0, 0], [640 - drift, 500 - 0.2 * drift], (stars, 2)) + away
    place = np.array([200.0, 200.0]) + away[:, 0]

    def respond(at):
        return 1.0 if response is None else 1.0 + response((at - [319.5, 249.5]) / 320.0)

    true = coefficient[:, None] * level * respond(xy)
    error = true / signal
    changes = slow * np.sin(np.linspace(0, 3, frames)[:, None] + rng.uniform(0, 6, stars))
    relative = np.broadcast_to(np.asarray(scatter), (frames,))[:, None] * rng.standard_normal((frames, stars)) + changes
    flux = true * (1 + relative) + error * rng.standard_normal((frames, stars))
    return FluxMatrix(flux, error, xy, SHAPE, place if reference else None), coefficient * respond(place)


def bowl(at):
    return -0.05 * at[..., 0] ** 2 + 0.03 * at[..., 0] * at[..., 1] - 0.04 * at[..., 1] ** 2


def deviation(solution, truth):
    ratio = solution.coefficient / truth
    return ratio / np.median(ratio) - 1


def test_a_response_of_the_detector_is_found_and_taken_off():
    sky, truth = fluxes(1, response=bowl, scatter=0.002)
    flat = Ensemble(response_order=2, spatial_order=0).solve(sky)
    plain = Ensemble(spatial_order=0, response_order=0).solve(sky)
    assert np.median(plain.intrinsic_scatter) > 0.004
    assert np.median(flat.intrinsic_scatter) == pytest.approx(0.002, rel=0.15)
    assert deviation(plain, truth).std() > 2 * deviation(flat, truth).std()
    pull = deviation(flat, truth) / (flat.coefficient_uncertainty / flat.coefficient)
    assert 0.85 < pull.std() < 1.2
    model_residual = (sky.flux / flat.model - 1)[flat.used]
    assert model_residual.std() == pytest.approx(np.hypot(0.002, 1 / 800), rel=0.05)


def most_probable(sky, prior, planes=False):
    """Return the response at each flux of the maximum a posteriori, by a general minimiser."""
    x, y = np.moveaxis((sky.xy - [319.5, 249.5]) / 320.0, -1, 0)
    terms = np.stack([x, y, x * x, x * y, y * y], axis=-1)
    from_reference = (sky.xy - sky.reference_xy[:, None]) / 320.0
    frames, stars = sky.flux.shape
    level = np.median(sky.flux, axis=0)
    coefficient = np.median(sky.flux / level, axis=1)

    def residuals(p):
        c, s, q, slopes = np.split(p, np.cumsum([frames, stars, 5]))
        plane = 1.0
        if planes:
            plane = 1 + np.einsum("fni,fi->fn", from_reference, slopes.reshape(frames, 2))
        model = np.exp(c[:, None] + s) * coefficient[:, None] * level * plane * np.exp(terms @ q)
        off = ((sky.flux - model) / sky.error).ravel()
        return np.concatenate([off, q / prior, slopes / prior, [1e3 * c[0]]])

    start = np.zeros(frames + stars + 5 + (2 * frames if planes else 0))
    return np.exp(terms @ least_squares(residuals, start).x[frames + stars :][:5])


def within_stars(values):
    """A frame's and a star's own factors are not the response."""
    return values - values.mean(axis=0) - values.mean(axis=1)[:, None] + values.mean()


def test_the_prior_is_that_of_the_response():
    """Four stars say little: the answer is in the middle between a flat response and the data's own."""
    sky, _ = fluxes(1, frames=40, stars=4, response=bowl, signal=200.0)
    solution = Ensemble(response_order=2, spatial_order=0, spatial_amplitude=0.01).solve(sky)
    share = np.log(solution.model / (solution.coefficient[:, None] * solution.level))
    expected, free = (within_stars(np.log(most_probable(sky, prior))) for prior in (0.01, 1.0))
    assert np.abs(free - expected).max() > 2e-3
    np.testing.assert_allclose(within_stars(share), expected, atol=3e-4)  # of errors of 5e-3


def test_response_and_planes_share_what_both_can_tell_as_their_priors_say():
    """A slope that all frames of a pointing have in common is the response's, or the frames' own."""
    sky, _ = fluxes(1, frames=12, stars=12, response=bowl, signal=200.0)
    table = _flux_table(sky)
    fit = solve_ensemble(table, robust_start(table), np.inf, 100)
    found = fit.state.response_at(table.shared)
    expected, alone = (within_stars(np.log(most_probable(sky, 0.05, planes))) for planes in (True, False))
    assert np.abs(alone - expected).max() > 4e-3
    np.testing.assert_allclose(within_stars(np.log(found)), expected, atol=1e-3)


def _flux_table(sky):
    """Return the table of fluxes with planes and a response of order 2, and priors of 0.05."""
    place, reference = ((xy - [319.5, 249.5]) / 320.0 for xy in (sky.xy, sky.reference_xy))
    return FluxTable(
        flux=sky.flux,
        variance=sky.error**2,
        valid=np.ones(sky.flux.shape, bool),
        basis=np.concatenate([np.ones((*sky.flux.shape, 1)), place - reference[:, None]], axis=-1),
        shared=monomials(place, 2),
        shared_at_reference=monomials(reference, 2),
        prior=0.05,
    )


def test_a_steep_response_is_hardly_held_back():
    sky, truth = fluxes(1, response=lambda at: np.exp(-0.5 * (at**2).sum(axis=-1)) - 1, scatter=0.002)
    solution = Ensemble().solve(sky)
    pull = deviation(solution, truth) / (solution.coefficient_uncertainty / solution.coefficient)
    assert 0.85 < pull.std() < 1.3


def test_variable_stars_that_are_left_out_leave_no_trace():
    sky, _ = fluxes(1, frames=40, stars=4, response=bowl, signal=200.0)
    rng = np.random.default_rng(9)
    beside, _ = fluxes(2, frames=40, stars=3, response=bowl, signal=200.0)
    wild = beside.flux * np.exp(0.8 * rng.standard_normal(beside.flux.shape))
    both = FluxMatrix(*(np.concatenate(pair, axis=1) for pair in
                        ((sky.flux, wild), (sky.error, beside.error), (sky.xy, beside.xy))),
                      SHAPE, sky.reference_xy)  # fmt: skip
    options = Ensemble(response_order=2, spatial_order=0, spatial_amplitude=0.01)
    without, with_them = options.solve(sky), options.solve(both)
    assert sorted(with_them.rejected) == [4, 5, 6]
    np.testing.assert_allclose(with_them.coefficient, without.coefficient, rtol=1e-4)


def test_without_a_drift_a_response_changes_nothing():
    sky, truth = fluxes(2, response=bowl, drift=0.0)
    flat, plain = (Ensemble(response_order=order).solve(sky) for order in (2, 0))
    np.testing.assert_allclose(deviation(flat, truth), deviation(plain, truth), atol=2e-4)


def test_a_response_and_a_term_in_each_frame():
    sky, truth = fluxes(3, response=bowl, scatter=0.002)
    solution = Ensemble(response_order=2, spatial_order=1).solve(sky)
    pull = deviation(solution, truth) / (solution.coefficient_uncertainty / solution.coefficient)
    assert 0.8 < pull.std() < 1.25


def test_a_term_in_each_frame_follows_a_response_that_stars_drift_over():
    sky, truth = fluxes(1, response=bowl, scatter=0.002)
    solution, plain = (Ensemble(spatial_order=order, response_order=0).solve(sky) for order in (1, 0))
    assert deviation(solution, truth).std() < 0.6 * deviation(plain, truth).std()


def test_the_stars_say_how_wide_the_prior_is():
    sky, truth = fluxes(1, response=bowl, scatter=0.002)
    solution = Ensemble().solve(sky)
    pull = deviation(solution, truth) / (solution.coefficient_uncertainty / solution.coefficient)
    assert 0.85 < pull.std() < 1.2
    assert np.median(solution.intrinsic_scatter) == pytest.approx(0.002, rel=0.15)


@pytest.mark.parametrize("seed", range(3))
def test_an_even_detector_costs_nothing(seed):
    sky, truth = fluxes(20 + seed, scatter=0.002)
    solution, plain = Ensemble().solve(sky), Ensemble(spatial_order=0, response_order=0).solve(sky)
    np.testing.assert_allclose(solution.coefficient_uncertainty, plain.coefficient_uncertainty, rtol=0.1)
    assert deviation(solution, truth).std() < 1.1 * deviation(plain, truth).std()


def test_the_median_coefficient_is_one():
    sky, _ = fluxes(4, response=bowl)
    assert np.median(Ensemble(response_order=3).solve(sky).coefficient) == pytest.approx(1.0)


@pytest.mark.parametrize("wrong", [-1, 5])
def test_an_order_that_makes_no_sense(wrong):
    with pytest.raises(ValueError, match="response_order must be"):
        Ensemble(response_order=wrong)


@pytest.mark.parametrize("scatter", [0.002, 0.005, 0.02])
def test_extra_scatter_is_that_of_the_stars(scatter):
    found = [np.median(Ensemble().solve(fluxes(seed, scatter=scatter)[0]).extra_scatter) for seed in range(6)]
    assert np.mean(found) == pytest.approx(scatter, rel=0.06)
    assert np.std(found) < 0.15 * scatter


def test_photon_noise_alone_leaves_little():
    found = [np.median(Ensemble().solve(fluxes(seed)[0]).extra_scatter) for seed in range(6)]
    assert np.median(found) < 0.3 / 800  # 4 per cent of the error, in quadrature


def test_slow_changes_are_no_random_scatter():
    solution = Ensemble().solve(fluxes(5, scatter=0.003, slow=0.01)[0])
    assert np.mean(solution.intrinsic_scatter) > 0.005
    assert np.median(solution.extra_scatter) == pytest.approx(0.003, rel=0.15)


def test_frames_that_scatter_more_are_known():
    scatter = np.where(np.arange(140) < 100, 0.003, 0.009)
    solution = Ensemble().solve(fluxes(6, scatter=scatter)[0])
    quiet, loud = np.median(solution.extra_scatter[:95]), np.median(solution.extra_scatter[105:])
    assert quiet == pytest.approx(0.003, rel=0.3)
    assert loud == pytest.approx(0.009, rel=0.3)


def test_a_target_among_the_stars_has_true_errors():
    pull = []
    for seed in range(6):
        sky, _ = fluxes(seed + 20, scatter=np.linspace(0.002, 0.006, 140))
        # The last star is the target: it takes no part.
        rest = FluxMatrix(sky.flux[:, :-1], sky.error[:, :-1], sky.xy[:, :-1], SHAPE, sky.reference_xy)
        s = Ensemble().solve(rest)
        value = sky.flux[:, -1] / s.coefficient
        variance = (sky.error[:, -1] / s.coefficient) ** 2
        variance += value**2 * ((s.coefficient_uncertainty / s.coefficient) ** 2 + s.extra_scatter**2)
        mean = np.average(value, weights=1 / variance)
        pull.append((value - mean) / np.sqrt(variance))
    assert 0.9 < np.std(pull) < 1.1


@pytest.mark.parametrize(("frames", "stars"), [(1, 5), (2, 5), (3, 1), (10, 2)])
def test_little_to_go_by(frames, stars):
    solution = Ensemble().solve(fluxes(7, frames=frames, stars=stars, scatter=0.003)[0])
    assert np.isfinite(solution.extra_scatter).all()
    assert (solution.extra_scatter < 0.02).all()


def test_a_frame_whose_stars_disagree_has_larger_errors_also_where_that_comes_slowly():
    """A cloud whose ragged shade crosses the field in 20 frames, which no plane holds."""
    sky, _ = fluxes(5, frames=60, stars=40, drift=0.0)
    x, y = sky.xy[..., 0], sky.xy[..., 1]
    front = 32.0 * (np.arange(60) - 40)[:, None]
    shade = 0.06 * np.sin(x / 60.0 + y / 35.0) ** 2 * (x < front)
    shaded = FluxMatrix(sky.flux * (1 - shade), sky.error, sky.xy, SHAPE, sky.reference_xy)
    solution = Ensemble().solve(shaded)
    # A source anywhere in the field is off by what the stars are off by.
    off = np.sqrt(np.mean((shaded.flux / solution.model - 1)[52:] ** 2, axis=1))
    assert (solution.extra_scatter[52:] > 0.7 * off).all()
    assert (solution.extra_scatter[:38] < 0.003).all()
