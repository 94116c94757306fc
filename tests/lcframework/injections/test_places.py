from __future__ import annotations

import attrs
import numpy as np
from astropy.wcs import WCS

from lcframework.injections.light import RegionUnderTest, injections, regions_for, steps
from lcframework.injections.places import Surroundings, find_places
from lcframework.injections.scratch import centre_of
from lcframework.sky.geometry import separation, sky_to_pixel

CENTRE = (359.9, 12.0)  # the field lies across the meridian of 0 degrees
GROUP = ("cam", "r")


def wcs_at(x: float, y: float) -> WCS:
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    made.wcs.crval, made.wcs.crpix = CENTRE, [x, y]
    made.wcs.cd = np.diag([-0.5, 0.5]) / 3600
    made.wcs.set()
    return made


def frames() -> list[Surroundings]:
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0, 600, (2, 60))
    flags = np.zeros((600, 600), np.uint8)
    flags[:, 250] = 8  # a bad column
    one = Surroundings(wcs_at(300, 300), (600, 600), x, y, np.full(60, 50.0), 0.5, 4.0, flags)
    return [one, attrs.evolve(one, wcs=wcs_at(330, 280), x=x + 30, y=y - 20, flags=None)]


def found(number: int = 20, seed: int = 1) -> np.ndarray:
    taken = np.array([CENTRE])
    return find_places(frames(), CENTRE, 140.0, number, 16.0, 18.0, taken, np.random.default_rng(seed))


def test_places_are_free_and_apart() -> None:
    places = found()
    assert len(places) == 20
    for frame in frames():
        x, y = sky_to_pixel(frame.wcs, places[:, 0], places[:, 1])
        assert (np.stack([x, y]) >= 18).all()
        assert (np.stack([x, y]) <= 581).all()
        near = np.hypot(x[:, None] - frame.x, y[:, None] - frame.y).min(axis=1)
        assert near.min() > 3 * frame.fwhm
        assert len(np.unique(x % 1)) == len(x)  # at places of their own within a pixel
    x, _ = sky_to_pixel(frames()[0].wcs, places[:, 0], places[:, 1])
    assert (np.abs(x - 249) > 4).all()
    for i, (ra, dec) in enumerate(places):
        others = np.concatenate([np.delete(places, i, axis=0), [CENTRE]])
        assert separation(others[:, 0], others[:, 1], ra, dec).min() >= 16 * 0.999
    assert separation(places[:, 0], places[:, 1], *CENTRE).max() <= 140


def test_places_repeat_with_the_seed() -> None:
    np.testing.assert_array_equal(found(), found())
    assert not np.array_equal(found(), found(seed=2))


def test_as_many_places_as_there_is_room_for() -> None:
    assert 20 < len(found(2000)) < 400


def target() -> RegionUnderTest:
    sources = {"A": CENTRE, "B": (CENTRE[0] + 1 / 3600, CENTRE[1] + 1 / 3600)}
    return RegionUnderTest("QSO", *CENTRE, sources, {GROUP: {"A": 100.0, "B": 40.0}})


def test_twins_and_single_sources() -> None:
    assert regions_for(target(), 40) == (5, 30)
    places = found(35)
    made = injections(target(), places, 40, steps(target(), {GROUP: 2.0}), ["inject"])
    twins = [i for i in made if i.level == "twin"]
    assert len(twins) == 5
    assert len(made) == 35
    assert all(i.region.startswith("inject_") for i in made)  # the project has a region of that name
    a, b = twins[0].sources
    assert (a.flux[GROUP], b.flux[GROUP]) == (100.0, 40.0)
    apart = separation(a.ra, a.dec, b.ra, b.dec)
    np.testing.assert_allclose(apart, separation(*CENTRE, *target().point_sources["B"]), rtol=1e-4)
    singles = [i for i in made if i.level != "twin"]
    fluxes = {i.sources[0].flux[GROUP] for i in singles}
    assert max(fluxes) == 100.0
    np.testing.assert_allclose(min(fluxes), 1.0)  # half of the limit
    assert {i.level for i in singles} == set("123456")


def test_centre_of_a_region_across_the_meridian() -> None:
    made = injections(target(), np.array([[0.0, 12.0]]), 2, {GROUP: np.array([1.0])}, [])
    assert len(made[0].sources) == 1  # no room for a twin among two
    twin = injections(target(), np.array([[359.99999, 12.0]]), 3, {GROUP: np.array([1.0])}, [])[0]
    ra, dec = centre_of(twin)
    assert min(ra, 360 - ra) < 0.001
    assert 12.0 < dec < 12.001
