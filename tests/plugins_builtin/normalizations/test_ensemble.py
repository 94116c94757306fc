"""The ensemble against simulated fluxes of known transparency."""

from __future__ import annotations

import pickle

import attrs
import numpy as np
import pytest

from lcframework.types import FitState, FluxMatrix, UnusableInput
from plugins_builtin.normalizations.ensemble import Ensemble, lcf_normalizations


@attrs.frozen(eq=False)
class Campaign:
    fluxes: FluxMatrix
    coefficient: np.ndarray
    level: np.ndarray
    outlier: np.ndarray


def campaign(
    seed: int,
    frames: int = 100,
    stars: int = 12,
    scatter: float = 0.004,
    missing: float = 0.2,
    outliers: float = 0.02,
    variables: int = 2,
    signal: tuple[float, float] = (20.0, 400.0),
) -> Campaign:
    rng = np.random.default_rng(seed)
    coefficient = np.exp(0.3 * rng.standard_normal(frames))
    ratio = np.exp(rng.uniform(*np.log(signal), stars))
    level = ratio**1.5
    error = level / ratio * np.sqrt(coefficient[:, None])
    relative = scatter * rng.standard_normal((frames, stars))
    for k in range(variables):
        relative[:, k] += 0.05 * (k + 1) * np.sin(0.7 * np.arange(frames) + k)
    flux = coefficient[:, None] * level * (1 + relative) + error * rng.standard_normal((frames, stars))
    outlier = rng.random((frames, stars)) < outliers
    flux[outlier] *= rng.uniform(0.2, 2.0, outlier.sum())
    flux[rng.random((frames, stars)) < missing] = np.nan
    xy = np.broadcast_to(rng.uniform(0, 1000, (stars, 2)), (frames, stars, 2)).copy()
    return Campaign(FluxMatrix(flux, error, xy, (1000, 1000)), coefficient, level, outlier & np.isfinite(flux))


def pulls(solution, truth: np.ndarray) -> np.ndarray:
    """Deviations in standard errors, the free common factor fitted."""
    known = np.isfinite(solution.coefficient)
    value, error, true = solution.coefficient[known], solution.coefficient_uncertainty[known], truth[known]
    factor = np.sum(value * true / error**2) / np.sum(true**2 / error**2)
    return (value - factor * true) / error


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"scatter": 0.0, "variables": 0, "outliers": 0.0},
        {"signal": (300.0, 3000.0)},
        {"signal": (1.0, 20.0), "stars": 20},
        {"frames": 20, "stars": 30, "variables": 4},
    ],
)
def test_standard_errors_are_true(settings):
    results = []
    for seed in range(8):
        sky = campaign(seed, **settings)
        results.append(pulls(Ensemble().solve(sky.fluxes), sky.coefficient))
    pull = np.concatenate(results)
    noise = 1 / np.sqrt(len(pull))
    assert abs(pull.mean()) < 4 * noise
    # Plug-in weights cost a few per cent (an oracle that knows all variances: 1.00).
    assert 0.93 - 2 * noise < pull.std() < 1.07 + 2 * noise
    assert np.abs(pull).max() < 8


def test_few_frames_with_variables_and_outliers():
    pull = np.concatenate(
        [
            pulls(Ensemble().solve(sky.fluxes), sky.coefficient)
            for sky in (campaign(seed, frames=12, stars=10) for seed in range(30))
        ]
    )
    assert 0.9 < pull.std() < 1.15


def test_errors_approach_those_of_known_variances():
    sky = campaign(3, frames=200, variables=0, outliers=0.0, missing=0.0)
    solution = Ensemble().solve(sky.fluxes)
    variance = sky.fluxes.error**2 + (0.004 * sky.coefficient[:, None] * sky.level) ** 2
    best = 1 / np.sqrt(np.sum(sky.level**2 / variance, axis=1)) / sky.coefficient
    ratio = np.median(solution.coefficient_uncertainty / solution.coefficient / best)
    assert ratio == pytest.approx(1.0, abs=0.05)


def test_levels_and_their_errors():
    pull = []
    for seed in range(30):
        sky = campaign(seed, variables=0)
        solution = Ensemble().solve(sky.fluxes)
        good = np.isfinite(solution.coefficient)
        weight = 1 / solution.coefficient_uncertainty[good] ** 2
        value, true = solution.coefficient[good], sky.coefficient[good]
        factor = np.sum(weight * value * true) / np.sum(weight * true**2)
        pull.append((solution.level - sky.level / factor) / solution.level_error)
    assert 0.9 < np.std(pull) < 1.12


def test_variable_stars_are_recognised():
    solution = Ensemble().solve(campaign(1, frames=200).fluxes)
    assert solution.intrinsic_scatter[0] == pytest.approx(0.05 / np.sqrt(2), rel=0.15)
    assert solution.intrinsic_scatter[1] == pytest.approx(0.10 / np.sqrt(2), rel=0.15)
    assert np.median(solution.intrinsic_scatter) < 0.008


def test_a_very_variable_star_is_left_out_with_the_reason():
    sky = campaign(2)
    flux = sky.fluxes.flux.copy()
    flux[:, 3] *= 1 + 0.5 * np.sin(np.arange(len(flux)))
    solution = Ensemble().solve(attrs.evolve(sky.fluxes, flux=flux))
    assert "variable" in solution.rejected[3]
    assert "max_intrinsic_scatter" in solution.rejected[3]
    assert not solution.used[:, 3].any()
    assert solution.intrinsic_scatter[3] == pytest.approx(0.35, rel=0.2)
    assert np.abs(pulls(solution, sky.coefficient)).max() < 6


def test_the_level_of_a_star_that_is_left_out_holds_the_planes_of_its_frames():
    sky = campaign(2, stars=20, variables=0, outliers=0.0, missing=0.0)
    xy = sky.fluxes.xy.copy()
    xy[:, 3] = 1000.0, 500.0
    slope = np.where(np.arange(100) < 50, 0.2, -0.2)
    flux = sky.fluxes.flux * (1 + slope[:, None] * (xy[..., 0] - 500.0) / 500.0)
    flux[:, 3] *= 1 + 0.4 * np.where(np.arange(100) % 2, 1, -1)
    flux[50:, 3] = np.nan
    solution = Ensemble().solve(attrs.evolve(sky.fluxes, flux=flux, xy=xy))
    assert "variable" in solution.rejected[3]
    ratio = solution.level / sky.level
    assert ratio[3] == pytest.approx(np.median(np.delete(ratio, 3)), rel=0.03)


def test_outliers_are_left_out_and_good_fluxes_are_not():
    sky = campaign(5, frames=200, variables=0)
    solution = Ensemble().solve(sky.fluxes)
    model = sky.coefficient[:, None] * sky.level
    sigma = np.hypot(sky.fluxes.error, 0.004 * model)
    gross = sky.outlier & (np.abs(sky.fluxes.flux - model) > 7 * sigma)
    good = np.isfinite(sky.fluxes.flux) & ~sky.outlier
    assert gross.sum() > 15
    assert solution.used[gross].mean() < 0.05
    assert solution.used[good].mean() > 0.998


def test_an_outlier_moves_no_coefficient():
    sky = campaign(7, outliers=0.0, missing=0.0)
    clean = Ensemble().solve(sky.fluxes)
    flux = sky.fluxes.flux.copy()
    brightest = int(np.argmax(sky.level))
    flux[10, brightest] *= 1e4
    flux[20, brightest] = -1e6
    spoiled = Ensemble().solve(attrs.evolve(sky.fluxes, flux=flux))
    assert not spoiled.used[[10, 20], brightest].any()
    change = (spoiled.coefficient - clean.coefficient) / clean.coefficient_uncertainty
    assert np.abs(np.delete(change, [10, 20])).max() < 0.3
    assert np.abs(change).max() < 4


def test_a_frame_whose_stars_disagree_has_a_larger_error():
    sky = campaign(8, outliers=0.0, variables=0, missing=0.0, signal=(200.0, 400.0))
    flux = sky.fluxes.flux.copy()
    flux[30] *= 1 + 0.05 * np.random.default_rng(0).standard_normal(flux.shape[1])
    solution = Ensemble().solve(attrs.evolve(sky.fluxes, flux=flux))
    relative = solution.coefficient_uncertainty / solution.coefficient
    assert relative[30] > 4 * np.median(relative)
    assert solution.scatter[30] == pytest.approx(0.05, rel=0.6)
    assert np.median(solution.scatter) == pytest.approx(np.hypot(0.004, 1 / 280), rel=0.2)
    assert np.abs(pulls(solution, sky.coefficient)).max() < 5


def test_one_star_carries_its_own_error():
    sky = campaign(4, stars=1, variables=0, scatter=0.0, missing=0.0, outliers=0.0)
    solution = Ensemble().solve(sky.fluxes)
    expected = sky.fluxes.error[:, 0] / sky.fluxes.flux[:, 0]
    np.testing.assert_allclose(solution.coefficient_uncertainty / solution.coefficient, expected, rtol=1e-5)
    assert np.isnan(solution.scatter).all()
    assert "one star" in solution.status.reason
    assert solution.status.usable


def test_one_frame():
    sky = campaign(4, frames=1, missing=0.0, outliers=0.0, variables=0)
    solution = Ensemble().solve(sky.fluxes)
    assert solution.coefficient[0] == pytest.approx(1.0)
    expected = 1 / np.sqrt(np.sum((sky.fluxes.flux / sky.fluxes.error) ** 2))
    assert solution.coefficient_uncertainty[0] == pytest.approx(expected, rel=1e-3)


def test_missing_stars_do_not_move_the_scale():
    sky = campaign(6, frames=60, variables=0, outliers=0.0, missing=0.0, signal=(300.0, 400.0))
    flux = sky.fluxes.flux.copy()
    # A chain: each third of the frames sees another third of the stars, and shares two with its neighbour.
    for third, (low, high) in enumerate([(0, 5), (3, 9), (7, 12)]):
        rows = slice(20 * third, 20 * third + 20)
        flux[rows, :low] = np.nan
        flux[rows, high:] = np.nan
    solution = Ensemble().solve(attrs.evolve(sky.fluxes, flux=flux))
    assert np.abs(pulls(solution, sky.coefficient)).max() < 5
    relative = solution.coefficient * np.median(sky.coefficient) / sky.coefficient
    assert np.std(relative) < 0.006


def test_without_clipping():
    sky = campaign(6, outliers=0.0, variables=0)
    solution = Ensemble(sigma_clip=np.inf).solve(sky.fluxes)
    assert solution.status.state is FitState.CONVERGED
    np.testing.assert_array_equal(solution.used, np.isfinite(sky.fluxes.flux))
    assert 0.85 < pulls(solution, sky.coefficient).std() < 1.2


def test_disconnected_frames_are_named():
    sky = campaign(9, frames=30, variables=0, missing=0.0)
    flux = sky.fluxes.flux.copy()
    flux[:10, :6] = np.nan
    flux[10:, 6:] = np.nan
    solution = Ensemble().solve(attrs.evolve(sky.fluxes, flux=flux))
    assert np.isnan(solution.coefficient[:10]).all()
    assert np.isfinite(solution.coefficient[10:]).all()
    assert "10 frames" in solution.status.reason
    assert "common star" in solution.status.reason
    assert set(solution.rejected) == set(range(6, 12))
    assert np.abs(pulls(solution, sky.coefficient)).max() < 5


def test_negative_zero_and_bad_fluxes():
    sky = campaign(10, missing=0.0, variables=0, outliers=0.0)
    flux, error = sky.fluxes.flux.copy(), sky.fluxes.error.copy()
    rng = np.random.default_rng(1)
    flux[5] = error[5] * rng.standard_normal(flux.shape[1])  # a frame under thick cloud
    flux[:, 2] = error[:, 2] * rng.standard_normal(len(flux))  # a star that is not there
    flux[6, 4], flux[7, 4] = np.inf, 0.0
    error[8, 4], error[9, 4] = 0.0, np.nan
    flux[11] = np.nan
    solution = Ensemble().solve(attrs.evolve(sky.fluxes, flux=flux, error=error))
    assert "no signal" in solution.rejected[2]
    assert abs(solution.coefficient[5]) < 4 * solution.coefficient_uncertainty[5]
    assert np.isnan(solution.coefficient[11])
    assert not solution.used[[6, 8, 9], 4].any()
    truth = sky.coefficient.copy()
    truth[5] = 0.0
    assert np.abs(pulls(solution, truth)).max() < 5


@pytest.mark.parametrize("what", ["flux", "error"])
def test_nothing_to_normalise_with(what):
    sky = campaign(11, frames=5)
    empty = np.full_like(sky.fluxes.flux, np.nan)
    with pytest.raises(UnusableInput, match="nothing to normalise with"):
        Ensemble().solve(attrs.evolve(sky.fluxes, **{what: empty}))


def tilted_campaign(size: float, stars: int = 20) -> tuple[FluxMatrix, np.ndarray]:
    """Return fluxes under gradients of a standard deviation, and the coefficients at a place near a corner."""
    sky = campaign(12, stars=stars, variables=0, outliers=0.0, signal=(300.0, 400.0))
    rng = np.random.default_rng(2)
    place = (sky.fluxes.xy - 500.0) / 500.0
    slope = size * rng.standard_normal((len(sky.coefficient), 2))
    flux = sky.fluxes.flux * (1 + np.einsum("fni,fi->fn", place, slope))
    reference = np.broadcast_to([900.0, 100.0], (len(flux), 2))
    fluxes = attrs.evolve(sky.fluxes, flux=flux, reference_xy=reference)
    return fluxes, sky.coefficient * (1 + slope @ [0.8, -0.8])


@pytest.mark.parametrize("size", [0.03, 0.005])
def test_gradients_are_as_wide_as_the_stars_show(size):
    fluxes, truth = tilted_campaign(size)
    free, told = Ensemble().solve(fluxes), Ensemble(spatial_amplitude=size).solve(fluxes)
    # The width is known to 1 / sqrt(2 x 200) of itself where slopes are far above their errors.
    np.testing.assert_allclose(free.coefficient, told.coefficient, atol=0.2 * np.median(told.coefficient_uncertainty))
    assert 0.85 < pulls(free, truth).std() < 1.2


def test_an_even_sky_costs_nothing():
    fluxes, truth = tilted_campaign(0.0)
    solution, flat = Ensemble().solve(fluxes), Ensemble(spatial_order=0, response_order=0).solve(fluxes)
    np.testing.assert_allclose(solution.coefficient_uncertainty, flat.coefficient_uncertainty, rtol=0.05)
    assert pulls(solution, truth).std() == pytest.approx(pulls(flat, truth).std(), rel=0.05)


def test_few_stars_show_no_gradient():
    fluxes, _ = tilted_campaign(0.03, stars=5)
    solution, flat = Ensemble().solve(fluxes), Ensemble(spatial_order=0, response_order=0).solve(fluxes)
    np.testing.assert_array_equal(solution.coefficient, flat.coefficient)


def test_spatial_term_recovers_a_gradient_at_the_reference():
    fluxes, truth = tilted_campaign(0.03)
    flat = Ensemble(spatial_order=0, response_order=0).solve(fluxes)
    tilted = Ensemble(spatial_order=1, spatial_amplitude=0.1).solve(fluxes)
    assert np.std(flat.coefficient / np.median(flat.coefficient) - truth / np.median(truth)) > 0.02
    pull = pulls(tilted, truth)
    assert 0.85 < pull.std() < 1.2
    assert np.median(tilted.coefficient_uncertainty / tilted.coefficient) < 0.006


def test_a_long_campaign_settles():
    sky = campaign(13, frames=1000, stars=30)
    solution = Ensemble().solve(sky.fluxes)
    assert solution.status.state is FitState.CONVERGED
    assert 0.85 < pulls(solution, sky.coefficient).std() < 1.15


def test_status_says_when_the_bound_is_reached():
    solution = Ensemble(max_iterations=5).solve(campaign(1).fluxes)
    assert solution.status.state is FitState.BOUND
    assert "5 iterations" in solution.status.reason


def test_plugin():
    assert lcf_normalizations() == {"ensemble": Ensemble}
    assert pickle.loads(pickle.dumps(Ensemble(spatial_order=1))) == Ensemble(spatial_order=1)
    with pytest.raises(ValueError, match="spatial_order must be 0"):
        Ensemble(spatial_order=7)
    with pytest.raises(ValueError, match="sigma_clip must be at least 2"):
        Ensemble(sigma_clip=0.5)


def test_each_region_has_the_coefficient_of_its_place():
    """One far from the reference, which a frame does not show, and one there."""
    fluxes, truth = tilted_campaign(0.03)
    places = np.stack([np.full((len(truth), 2), [100.0, 800.0]), fluxes.reference_xy], axis=1)
    places[7, 0] = np.nan
    solution = Ensemble().solve(attrs.evolve(fluxes, region_xy=places))
    alone = Ensemble().solve(attrs.evolve(fluxes, reference_xy=np.full((len(truth), 2), [100.0, 800.0])))
    far, here = solution.region_coefficient.T
    np.testing.assert_allclose(here, solution.coefficient, rtol=1e-9)
    np.testing.assert_allclose(solution.region_coefficient_uncertainty[:, 1], solution.coefficient_uncertainty)
    assert np.isnan(far[7])
    known = np.isfinite(far)
    assert np.isnan(solution.region_coefficient_uncertainty[~known, 0]).all()
    stated = solution.region_coefficient_uncertainty[known, 0] / far[known]
    # The same as of a field with this region alone, but for the priors on slopes, which are relative to the reference.
    ratio = far[known] / alone.coefficient[known]
    assert np.std((ratio / np.median(ratio) - 1) / stated) < 0.1
    np.testing.assert_allclose(stated, (alone.coefficient_uncertainty / alone.coefficient)[known], rtol=0.02)
    assert np.std(far[known] / solution.coefficient[known]) > 0.03


def test_under_an_even_sky_all_regions_have_the_coefficient_of_the_frame():
    fluxes, _ = tilted_campaign(0.03, stars=5)
    places = np.broadcast_to([[100.0, 800.0], [900.0, 100.0]], (len(fluxes.flux), 2, 2))
    assert Ensemble().solve(attrs.evolve(fluxes, region_xy=places)).region_coefficient is None
