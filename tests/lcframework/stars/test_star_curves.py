"""Light curves of comparison stars: by the others alone, as if a star had been left out."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from sqlalchemy.engine import Engine
from sqlmodel import Session

from lcframework.stars.residuals import residuals
from lcframework.stars.star_curves import by_the_others, leverage_on_frame, star_curves
from lcframework.storage.tables import NormalizationCoefficient, StarFlux, StarLevel, StarResidual
from lcframework.types import FluxMatrix
from plugins_builtin.normalizations.ensemble import Ensemble

FRAMES, STARS = 30, 7
ERROR = np.array([0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.010])  # relative, of the stars


def fluxes(seed: int = 3) -> FluxMatrix:
    rng = np.random.default_rng(seed)
    true = np.outer(rng.uniform(0.5, 1.0, FRAMES), np.geomspace(1000.0, 60.0, STARS))
    flux = true * (1 + ERROR * rng.normal(size=true.shape))
    return FluxMatrix(flux, true * ERROR, np.zeros((FRAMES, STARS, 2)), (100, 100))


def test_it_is_as_if_the_star_had_been_left_out() -> None:
    every = fluxes()
    solution = Ensemble().solve(every)
    residual = every.flux / (solution.coefficient[:, None] * solution.level) - 1
    sigma = np.hypot(ERROR, np.broadcast_to(solution.intrinsic_scatter, residual.shape))
    leverage = leverage_on_frame(sigma, residuals(solution, every)[1], solution.used)
    ratio, expected = by_the_others(residual, sigma, leverage)
    for star in (0, 3):
        flux, error = every.flux.copy(), every.error.copy()
        flux[:, star] = error[:, star] = np.nan
        others = Ensemble().solve(attrs.evolve(every, flux=flux, error=error))
        alone = every.flux[:, star] / others.coefficient
        both = ratio[:, star] / ratio[:, star].mean() - alone / alone.mean()
        with_itself = residual[:, star] - residual[:, star].mean() - (alone / alone.mean() - 1)
        # What is left comes from the other stars' intrinsic scatters, which are estimated anew without the star.
        assert np.std(both) < 0.25 * np.std(with_itself)
        assert np.std(ratio[:, star]) > np.std(residual[:, star])
        error = others.coefficient_uncertainty / others.coefficient
        assert np.median(error) == pytest.approx(np.median(expected[:, star]), rel=0.15)


def test_a_plane_over_few_stars_is_taken_out_of_a_star_too() -> None:
    """Each of nine stars has a large part in the three numbers of its frame's plane."""
    rng = np.random.default_rng(4)
    frames, stars = 60, 9
    place = rng.uniform(-1, 1, (stars, 2))
    slope = 0.02 * rng.normal(size=(frames, 2))
    true = np.outer(rng.uniform(0.5, 1.0, frames), np.full(stars, 1000.0)) * (1 + slope @ place.T)
    xy = np.broadcast_to(50 * (place + 1) - 0.5, (frames, stars, 2))
    every = FluxMatrix(true * (1 + 0.003 * rng.normal(size=true.shape)), 0.003 * true, xy, (100, 100))
    solution = Ensemble().solve(every)
    residual, its_error = residuals(solution, every)
    sigma = np.hypot(0.003, np.broadcast_to(solution.intrinsic_scatter, residual.shape))
    ratio, expected = by_the_others(residual, sigma, leverage_on_frame(sigma, its_error, solution.used))
    for star in (0, 5):
        others = np.arange(stars) != star
        fluxes = FluxMatrix(every.flux[:, others], every.error[:, others], xy[:, others], (100, 100), xy[:, star])
        alone = every.flux[:, star] / Ensemble().solve(fluxes).coefficient
        scatter = np.std(alone / alone.mean())
        assert np.std(residual[:, star]) < 0.9 * scatter  # the star itself pulls the plane
        assert np.std(ratio[:, star]) == pytest.approx(scatter, rel=0.08)
        assert np.hypot(0.003, np.median(expected[:, star])) == pytest.approx(scatter, rel=0.2)


def test_the_only_star_of_a_frame_has_nothing_to_be_compared_with() -> None:
    used, sigma = np.array([[True, False]]), np.full((1, 2), 0.01)
    ratio, _ = by_the_others(np.zeros((1, 2)), sigma, leverage_on_frame(sigma, sigma, used))
    assert np.isnan(ratio[0, 0])
    assert ratio[0, 1] == 1.0


def test_fluxes_from_the_database(engine: Engine) -> None:
    group = {"combined_footprint_hash": "f", "instrument": "Cam", "band": "r"}
    zeros = dict.fromkeys(("x_offset", "y_offset", "x_uncertainty", "y_uncertainty", "background"), 0.0)
    with Session(engine) as session:
        for name, residual, used in (("a", 0.01, True), ("b", -0.01, True), ("c", 0.03, False)):
            session.add(StarLevel(**group, gaia_id=name, level=200.0, level_error=1.0, intrinsic_scatter=0.0,
                                  comment="" if used else "varies"))  # fmt: skip
            session.add(
                StarResidual(**group, frame_id=4, gaia_id=name, residual=residual, residual_error=0.01, used=used)
            )
            flux = 100.0 * (1 + residual)
            session.add(StarFlux(combined_footprint_hash="f", frame_id=4, gaia_id=name, flux=flux, psf_ref="", x=1.0,
                                 flux_uncertainty=2.0, y=2.0, chi2=1.0, status="", **zeros))  # fmt: skip
        session.add(NormalizationCoefficient(**group, frame_id=4, coefficient=0.5, coefficient_uncertainty=0.01,
                                             scatter=0.0, stars=2, extra_scatter=0.03))  # fmt: skip
        session.commit()
        curves = star_curves(session, "f", "Cam", "r")
    assert (curves.frames, curves.stars, curves.comment) == ([4], ["a", "b", "c"], ["", "", "varies"])
    # Of two equal stars, each has the other's coefficient: 0.99 or 1.01 times that of both.
    assert curves.flux[0] == pytest.approx([200 * 1.01 / 0.99, 200 * 0.99 / 1.01, 206.0])
    assert curves.d_flux_fit[0] == pytest.approx([4.0, 4.0, 4.0])
    assert curves.d_flux[0] == pytest.approx(200 * np.hypot(0.02, np.hypot([0.02 * 2**0.5, 0.02 * 2**0.5, 0.02], 0.03)))
    assert (curves.x[0, 0], curves.y[0, 0]) == (1.0, 2.0)
