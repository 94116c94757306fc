from __future__ import annotations

import numpy as np
import pytest

from lcframework.report.comparison import ComparisonStars, leverage
from lcframework.report.results import read_results


def test_leverage_is_that_of_the_weighted_two_way_fit():
    rng = np.random.default_rng(2)
    frames, stars = 7, 4
    variance = np.ones((frames, stars)) * rng.uniform(0.5, 2.0, stars)  # exact where weights factor
    used = np.ones((frames, stars), bool)
    design = np.zeros((frames * stars, frames + stars))
    for i in range(frames):
        for j in range(stars):
            design[i * stars + j, [i, frames + j]] = 1.0
    weight = 1 / variance.ravel()
    hat = design @ np.linalg.pinv(design.T @ (weight[:, None] * design)) @ (design.T * weight)
    np.testing.assert_allclose(leverage(variance, used).ravel(), np.diag(hat), rtol=1e-9)


def test_leverage_of_what_was_not_used_is_zero():
    used = np.array([[True, False], [True, True]])
    assert leverage(np.ones((2, 2)), used)[0, 1] == 0.0


def solved(rng, frames=25, stars=6):
    """Return curves whose coefficients and levels were fitted to the noisy fluxes themselves."""
    error = np.ones((frames, 1)) * 0.004 * 1.6 ** np.arange(stars)
    noise = error * rng.standard_normal((frames, stars))
    design = np.zeros((frames, stars, frames + stars))
    for i in range(frames):
        for j in range(stars):
            design[i, j, [i, frames + j]] = 1.0
    flat, weight = design.reshape(frames * stars, -1), 1 / error.ravel()
    fitted = np.linalg.lstsq(flat * weight[:, None], noise.ravel() * weight, rcond=None)[0]
    used = np.ones((frames, stars), bool)
    return ComparisonStars(
        "field", "Cam", "r", list(range(frames)), np.arange(frames), np.ones(frames), np.full(frames, 1e-3),
        [str(j) for j in range(stars)], list("abcdef"), np.arange(stars), np.ones(stars), np.zeros(stars), [""] * stars,
        noise - (flat @ fitted).reshape(noise.shape), error, leverage(error**2, used), used,
    )  # fmt: skip


def test_pulls_of_fitted_residuals_have_unit_width():
    rng = np.random.default_rng(5)
    pulls = np.concatenate([solved(rng).pulls(intrinsic=False).ravel() for _ in range(40)])
    pulls = pulls[np.isfinite(pulls)]
    assert abs(np.std(pulls) - 1) < 4 / np.sqrt(2 * pulls.size)


def test_measured_scatter_is_the_expected_one_where_there_is_only_noise():
    rng = np.random.default_rng(6)
    ratios = []
    for _ in range(40):
        measured, expected, count = solved(rng).scatter()
        assert set(count) == {25}
        ratios.append((measured / expected) ** 2)
    # The mean over 40 x 24 values of a squared unit normal, for each star; the brightest has half the freedom.
    assert np.all(np.abs(np.mean(ratios, axis=0) - 1) < 4 * np.sqrt(2 / (40 * 12)))


@pytest.mark.parametrize("group", [0, 1])
def test_the_curves_are_those_of_the_database(tiny, group):
    curves = read_results(tiny.project).comparison[group]
    assert (curves.instrument, curves.band) == (("CamA", "r"), ("CamB", "g"))[group]
    assert curves.names == list("abcde")
    assert list(curves.coefficient) == [tiny.coefficient[i] for i in curves.frame_ids]
    bare = curves.residual / curves.error
    assert abs(np.std(bare) - 1) < 4 / np.sqrt(2 * bare.size)


def test_a_star_that_was_left_out_has_no_pull(tiny):
    curves = read_results(tiny.project).comparison[0]
    curves.comment[1] = "varies"
    assert np.isnan(curves.pulls(intrinsic=True)[:, 1]).all()
    assert np.isfinite(curves.pulls(intrinsic=True)[:, 0]).any()
