"""The survey ``panstarrs`` against a loopback TAP service that holds a Pan-STARRS of known truth."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from astropy.table import Table

from lcframework.testing import check_calibration_survey
from lcframework.types import MAGNITUDES, NeedMissing
from plugins_builtin.surveys.panstarrs import PanStarrs

ARCSEC = 1.0 / 3600.0
MJD_2012 = 51544.5 + 12.0 * 365.25


def field(count: int = 30, seed: int = 8) -> tuple[Table, Table]:
    """Stars of a field over RA 0 and their detections in 2012, four years before the stars' epoch."""
    rng = np.random.default_rng(seed)
    stars = Table()
    stars["source_id"] = [f"s{i:02d}" for i in range(count)]
    stars["ra"] = rng.uniform(-0.05, 0.05, count) % 360.0
    stars["dec"] = 30.0 + rng.uniform(-0.05, 0.05, count)
    stars["pmra"], stars["pmdec"] = rng.normal(0.0, 400.0, (2, count))  # 1.6 arcsec in four years
    stars["ref_epoch"], stars["magnitude"] = 2016.0, 16.0
    ps1 = Table(masked=True)
    ps1["RAJ2000"] = (stars["ra"] - 4.0 * stars["pmra"] / 3.6e6 / np.cos(np.radians(stars["dec"]))) % 360.0
    ps1["DEJ2000"] = stars["dec"] - 4.0 * stars["pmdec"] / 3.6e6
    ps1["Epoch"], ps1["Nd"], ps1["Qual"] = MJD_2012, 60, 52
    for band, faint in zip("grizy", (0.6, 0.0, -0.2, -0.3, -0.4), strict=True):
        ps1[f"{band}mag"] = rng.uniform(15.0, 19.0, count) + faint
        ps1[f"e_{band}mag"] = rng.uniform(0.002, 0.02, count)
    return stars, ps1


def ask(tap_service, stars: Table, ps1: Table, band: str, **options) -> Table:
    server = tap_service({"II/349/ps1": ps1})
    plugin = PanStarrs(url=server.url, timeout=5.0, retries=0, **options)
    found = MAGNITUDES.check(plugin.magnitudes(stars, band), "panstarrs")
    assert len(server.log) == 1  # one query for all stars
    return found


@pytest.mark.parametrize("name", ["g", "r_panstarrs", "i_ps1", "z", "y"])
def test_its_own_bands(tap_service, name):
    stars, ps1 = field()
    found = ask(tap_service, stars, ps1, name)
    assert list(found["source_id"]) == list(stars["source_id"])
    band = name[0]
    np.testing.assert_array_equal(np.asarray(found["mag"]), np.asarray(ps1[f"{band}mag"]))
    np.testing.assert_allclose(np.asarray(found["mag_err"]), np.sqrt(np.asarray(ps1[f"e_{band}mag"]) ** 2 + 1e-4))
    np.testing.assert_allclose(np.asarray(found["colour"]), np.asarray(ps1["gmag"]) - np.asarray(ps1["rmag"]))
    assert (found.meta["system"], found.meta["colour"]) == ("AB", "g_r")


@pytest.mark.parametrize(("band", "a", "b", "wa", "wb"), [("c", "g", "r", 0.49, 0.51), ("o", "r", "i", 0.55, 0.45)])
def test_atlas_bands(tap_service, band, a, b, wa, wb):
    stars, ps1 = field()
    found = ask(tap_service, stars, ps1, band)
    want = wa * np.asarray(ps1[f"{a}mag"]) + wb * np.asarray(ps1[f"{b}mag"])
    np.testing.assert_allclose(np.asarray(found["mag"]), want, rtol=1e-14)
    # against draws: the error of a weighted sum of independent magnitudes
    rng = np.random.default_rng(1)
    draws = wa * rng.normal(0.0, ps1[f"e_{a}mag"], (20000, len(ps1))) + wb * rng.normal(
        0.0, ps1[f"e_{b}mag"], (20000, len(ps1))
    )
    np.testing.assert_allclose(np.asarray(found["mag_err"]), np.hypot(draws.std(axis=0), 0.01), rtol=0.03)


def test_it_fulfils_the_contract(tap_service):
    stars, ps1 = field()
    server = tap_service({"II/349/ps1": ps1})
    expected = {str(name): float(mag) for name, mag in zip(stars["source_id"], ps1["imag"], strict=True)}
    check_calibration_survey(PanStarrs(url=server.url), stars, band="i", expected=expected)


def test_proper_motion_is_what_finds_the_fast_ones(tap_service):
    stars, ps1 = field()
    slow = stars.copy()
    slow["pmra"], slow["pmdec"] = 0.0, np.nan
    moved = 4.0 * np.hypot(stars["pmra"], stars["pmdec"]) / 1000.0
    assert (moved > 1.5).any()
    found = ask(tap_service, slow, ps1, "r")
    assert set(found["source_id"]) == set(stars["source_id"][moved <= 1.5])


def test_several_detections(tap_service):
    stars, ps1 = field(4)
    extra = ps1[[0, 1]]
    extra["DEJ2000"] += 0.8 * ARCSEC
    extra["Nd"] = [40, 3]  # a neighbour, and a spurious fragment
    both = Table(np.ma.concatenate([ps1.as_array(), extra.as_array()]), names=ps1.colnames, masked=True)
    found = ask(tap_service, stars, both, "r")
    assert list(found["source_id"]) == ["s01", "s02", "s03"]
    assert found["mag"][0] == ps1["rmag"][1]


def test_galaxies_saturated_stars_and_missing_bands(tap_service):
    stars, ps1 = field(5)
    ps1["Qual"][0] = 53
    ps1["rmag"][1] = 13.5
    ps1["rmag"].mask[2] = True
    assert list(ask(tap_service, stars, ps1, "r")["source_id"]) == ["s03", "s04"]
    assert list(ask(tap_service, stars, ps1, "r", brightest=13.0)["source_id"]) == ["s01", "s03", "s04"]
    assert list(ask(tap_service, stars, ps1, "o")["source_id"]) == ["s01", "s03", "s04"]


def test_every_band_shares_one_stored_answer(tap_service, tmp_path):
    stars, ps1 = field()
    server = tap_service({"II/349/ps1": ps1})
    plugin = PanStarrs(url=server.url, timeout=5.0, cache_dir=tmp_path)
    r = plugin.magnitudes(stars, "r")
    i = attrs.evolve(plugin, offline=True).magnitudes(stars, "i")
    assert len(server.log) == 1
    assert (np.asarray(r["mag"]) != np.asarray(i["mag"])).all()
    with pytest.raises(NeedMissing, match="lcf prefetch"):
        attrs.evolve(plugin, offline=True).magnitudes(stars[:5], "r")


def test_what_it_can_not_give(tap_service):
    stars, _ = field()
    with pytest.raises(NeedMissing, match=r"no band 'V'.*g, r, i, z, y, c, o"):
        PanStarrs().magnitudes(stars, "V")
    stars["dec"] -= 80.0
    with pytest.raises(NeedMissing, match="nothing south of declination"):
        PanStarrs().magnitudes(stars, "r")
    assert len(PanStarrs().magnitudes(stars[:0], "r")) == 0


def test_a_service_that_fails(tap_service):
    stars, ps1 = field()
    server, mirror = tap_service({"II/349/ps1": ps1}), tap_service({"II/349/ps1": ps1})
    server.script = ["truncate"] * 3
    plugin = PanStarrs(url=server.url, timeout=5.0, retries=2, backoff=0.01)
    with pytest.raises(NeedMissing, match="cut off"):
        plugin.magnitudes(stars, "r")
    server.script = ["http500"] * 3
    assert len(attrs.evolve(plugin, mirror=mirror.url).magnitudes(stars, "r")) == len(stars)
