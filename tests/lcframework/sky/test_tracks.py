"""Tracks of targets that move: distances, fields of stars, trails, and stars that are passed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
from astropy.table import Table

from lcframework.config.sections import Roi
from lcframework.config.toolbox import Tool
from lcframework.sky.geometry import from_plane, separation
from lcframework.sky.passed_stars import Passing, _itself, passing_doubt
from lcframework.sky.star_fields import disk_over
from lcframework.sky.tracks import Place, Track, carried, place_doubts, places_of, regions_at, trail_loss
from lcframework.types import FWHM_PER_SIGMA, Floats, Moments, Severity, UnusableInput

YEAR = 365.25


def track(xi: Any, eta: Any, dec: float = 60.0, rate: float = 1e6, mjd: Any = None) -> Track:
    """Return a track through offsets, arcsec, from (0, dec)."""
    ra, dec_of = from_plane(np.array(xi, float), np.array(eta, float), 0.0, dec)
    times = np.arange(len(ra), dtype=float) if mjd is None else np.array(mjd, float)
    return Track(tuple(range(len(ra))), ra, dec_of, times, rate)


def test_distances_are_those_from_the_arcs_between_places() -> None:
    one = track([-30.0, 30.0, 30.0], [0.0, 0.0, 40.0])
    xi, eta = np.array([0.0, 33.0, -30.0, 35.0, 30.0]), np.array([4.0, 20.0, -5.0, 45.0, 40.0])
    np.testing.assert_allclose(
        one.separation(*from_plane(xi, eta, 0.0, 60.0)), [4.0, 3.0, 5.0, np.hypot(5, 5), 0.0], atol=2e-3
    )
    assert np.isinf(track([], []).separation([0.0, 1.0], [2.0, 3.0])).all()
    assert track([1.0], [0.0]).separation(np.array([0.0]), np.array([60.0]))[0] == pytest.approx(1.0)


def test_a_disk_covers_the_track_and_a_new_place_seldom_changes_it() -> None:
    n = 60
    long = track(np.linspace(0, 900, n), np.linspace(0, -300, n))
    field = disk_over("A", long, 200.0)
    centre, reach = (field.region.ra, field.region.dec), field.region.radius * 3600
    assert (separation(long.ra, long.dec, *centre) + 200.0 <= reach).all()
    assert reach < np.hypot(450, 150) + 200.0 + 2 * 50.0
    cut = (attrs.evolve(long, frame_id=tuple(range(k)), ra=long.ra[:k], dec=long.dec[:k]) for k in range(1, n + 1))
    assert len({disk_over("A", part, 200.0).hash for part in cut}) < n / 2
    still = disk_over("A", track([0.0], [0.0]), 200.0)
    assert still.region.radius * 3600 <= 250.0


@pytest.mark.parametrize("length", [0.2, 0.5, 1.0])
def test_the_loss_of_a_trail_is_that_of_a_fit(length: float) -> None:
    x = np.linspace(-6, 6, 4001)
    profile = np.exp(-0.5 * (x * FWHM_PER_SIGMA) ** 2)
    trail = np.mean([np.interp(x - d, x, profile) for d in np.linspace(-length / 2, length / 2, 401)], axis=0)
    fitted = np.sum(profile * trail) / np.sum(profile**2)
    assert trail_loss(length) == pytest.approx(1 - fitted, rel=0.1)


def test_trails_and_uncertain_places_are_doubts() -> None:
    assert place_doubts("R", Place(1.0, 2.0, 0.1, 0.01), 1.0) == []
    (short,) = place_doubts("R", Place(1.0, 2.0, 0.3), 1.0)
    assert (short.kind, short.severity, short.subject) == ("target_trails", Severity.DOUBT, "R")
    assert "too low by about 1.0 %" in short.text
    long, far = place_doubts("R", Place(1.0, 2.0, 2.0, 0.6), 2.0)
    assert long.severity is Severity.SERIOUS
    assert (far.kind, far.value) == ("uncertain_place", 0.6)
    assert place_doubts("R", Place(1.0, 2.0, 2.0), None) == []


def test_point_sources_keep_their_offsets() -> None:
    roi = Roi(10.0, 60.0, point_sources={"A": (10.0, 60.0), "B": (10.0 + 2 / 3600, 60.0)})  # B an arcsec to the east
    a, b = carried(roi, 200.0, 0.0)
    np.testing.assert_allclose(a, [200.0, 0.0], atol=1e-9)
    np.testing.assert_allclose((b - a) * 3600.0, [1.0, 0.0], atol=1e-4)
    assert carried(Roi(1.0, 2.0), 3.0, 4.0).shape == (0, 2)


@attrs.frozen
class UntilNoon:
    """Moves to the north by a degree a day; nobody knows where it is in the afternoon."""

    results_version: ClassVar[int] = 1

    def positions(self, ra: float, dec: float, moments: Moments) -> tuple[Floats, Floats]:
        if (np.asarray(moments.mjd) > 60000.5).any():
            raise UnusableInput("it is afternoon")
        return np.full(len(moments), ra), dec + np.asarray(moments.mjd) - 60000.0


def test_one_frame_without_a_place_leaves_the_others_theirs() -> None:
    tool = Tool("roi.R", "own", UntilNoon(), 1)
    first, second, third = places_of(tool, Roi(10.0, 20.0), [60000.1, 60000.7, 60000.4], [24.0, 24.0, 24.0], None)
    assert isinstance(second, UnusableInput)
    assert isinstance(first, Place)
    assert isinstance(third, Place)
    assert (first.dec, third.dec) == (pytest.approx(20.1), pytest.approx(20.4))
    assert first.trail == pytest.approx(1.0, rel=1e-6)  # a degree a day is an arcsec in 24 s
    (cut,) = places_of(tool, Roi(10.0, 20.0), [60000.4999], [24.0], None)
    assert isinstance(cut, UnusableInput)  # the exposure's end is in the afternoon


STAR = {"gaia_id": "7", "ra": 10.0, "dec": 60.0, "pmra": 0.0, "pmdec": 0.0, "ref_epoch": 2016.0, "magnitude": 17.3}


def frame(seeing: float | None, mjd: float = 60000.0) -> Any:
    return SimpleNamespace(id=0, seeing_arcseconds=seeing, mjd=mjd)


def test_stars_within_the_seeing_are_doubts() -> None:
    target = Track((0,), np.array([10.0 + 1.5 * 2 / 3600]), np.array([60.0]), np.array([60000.0]))
    passing = Passing({"R": target}, [STAR, {**STAR, "gaia_id": "8", "dec": 60.0006}])
    passed = passing.in_frame("R", frame(1.25))
    assert passed is not None
    doubt = passing_doubt(passed)
    assert (doubt.kind, doubt.subject) == ("star_passed", "R")
    assert doubt.value == pytest.approx(1.2, rel=1e-3)
    assert "magnitude 17.3 (7) is 1.50 arcsec" in doubt.text
    assert passing.in_frame("R", frame(0.7)) is None
    assert passing.in_frame("R", frame(None)) is None
    moved = Passing({"R": target}, [{**STAR, "pmra": 1000.0}])  # by 8.15 arcsec to the east since 2016
    assert moved.in_frame("R", frame(1.25, 57388.5 + 8.15 * YEAR)) is None
    assert Passing({"R": target}, []).in_frame("R", frame(1.25)) is None


def test_a_star_that_goes_with_a_slow_target_is_the_target() -> None:
    years = np.array([-4.0, 0.0, 4.0])
    stars = Table(rows=[{**STAR, "ra": 0.0, "pmra": 2000.0}, {**STAR, "ra": 0.0}])
    slow = track(2.0 * years, 0 * years, rate=2.0, mjd=57388.5 + years * YEAR)
    assert _itself(stars, slow).tolist() == [True, False]
    assert _itself(stars, attrs.evolve(slow, rate=1e5)).tolist() == [False, False]


def test_solvers_look_around_the_places_at_the_frames_times() -> None:
    moving, still = Roi(10.0, 20.0), Roi(200.0, -10.0)
    tools = {"M": Tool("roi.M", "own", UntilNoon(), 1), "S": None}
    toolbox: Any = SimpleNamespace(config=SimpleNamespace(roi={"M": moving, "S": still}), ephemeris=tools.get)
    found = regions_at(toolbox, [60000.4, 60000.1, 60000.7])
    assert [(r.ra, round(r.dec, 9)) for r in found] == [(10.0, 20.1), (10.0, 20.4), (200.0, -10.0)]
    assert regions_at(toolbox, [60000.7]) == [moving, still]
    assert regions_at(toolbox, []) == [moving, still]
