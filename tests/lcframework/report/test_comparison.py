from __future__ import annotations

import numpy as np
import pytest
from sqlmodel import Session, select

from lcframework.report.comparison import ComparisonStars
from lcframework.report.results import read_results
from lcframework.stars.residuals import residuals
from lcframework.storage.tables import StarResidual
from lcframework.types import FitState, FitStatus, FluxMatrix, NormalizationSolution


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
    used, zero = np.ones((frames, stars), bool), np.zeros(stars)
    solution = NormalizationSolution(
        1 + fitted[:frames], np.full(frames, 1e-3), np.full(frames, 1e-3), 1 + fitted[frames:], zero, zero, used,
        FitStatus(FitState.CONVERGED),
    )  # fmt: skip
    residual, due = residuals(solution, FluxMatrix(1 + noise, error, np.zeros((frames, stars, 2)), (9, 9)))
    return ComparisonStars(
        "field", "Cam", "r", list(range(frames)), np.arange(frames), np.ones(frames), np.full(frames, 1e-3),
        [str(j) for j in range(stars)], list("abcdef"), np.arange(stars), np.ones(stars), zero, [""] * stars,
        residual, due, error, used,
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


def test_residuals_are_those_that_the_normalization_stored(fresh):
    """A model that expects more than coefficient times level, as with a response, is not seen in their product."""
    with Session(fresh.project.engine()) as session:
        rows = list(session.exec(select(StarResidual).where(StarResidual.instrument == "CamA")))
        for k, row in enumerate(rows):
            row.residual, row.residual_error, row.used = 0.5 + 0.001 * k, 0.02, k != 4
        stored = {(r.frame_id, r.gaia_id): r.residual for r in rows}
        left_out = (rows[4].frame_id, rows[4].gaia_id)
        session.add_all(rows)
        session.commit()
    curves = read_results(fresh.project).comparison[0]
    pulls = curves.pulls(intrinsic=True)
    for i, frame in enumerate(curves.frame_ids):
        for j, star in enumerate(curves.star_ids):
            assert curves.residual[i, j] == stored[frame, star]
            assert curves.selected[i, j] == ((frame, star) != left_out)
            if curves.selected[i, j] and curves.freedom[i, j] > 0.2:
                assert pulls[i, j] == pytest.approx(stored[frame, star] / 0.02)
            else:
                assert np.isnan(pulls[i, j])
    assert np.isfinite(pulls).sum() > 5


def test_a_flux_without_a_residual_is_no_part_of_the_curves(fresh):
    with Session(fresh.project.engine()) as session:
        session.delete(session.exec(select(StarResidual).where(StarResidual.instrument == "CamA")).first())
        session.commit()
    curves = read_results(fresh.project).comparison[0]
    assert np.isnan(curves.residual).sum() == np.isnan(curves.error).sum() == (~curves.selected).sum() == 1
