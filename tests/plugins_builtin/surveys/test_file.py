"""The survey ``file``: matching by position."""

from __future__ import annotations

import pickle

import attrs
import numpy as np
import pytest
from astropy.table import Table

from lcframework.types import MAGNITUDES, NeedMissing
from plugins_builtin.surveys.file import TableOfMagnitudes

ARCSEC = 1.0 / 3600.0


def stars(ra, dec, pmra=0.0, pmdec=0.0, ref_epoch=2016.0) -> Table:
    ra, dec = np.atleast_1d(ra).astype(float), np.atleast_1d(dec).astype(float)
    t = Table()
    t["source_id"] = [f"s{i}" for i in range(len(ra))]
    t["ra"], t["dec"] = ra, dec
    t["pmra"], t["pmdec"] = np.broadcast_to(pmra, len(ra)), np.broadcast_to(pmdec, len(ra))
    t["ref_epoch"] = np.broadcast_to(ref_epoch, len(ra))
    t["magnitude"] = 15.0
    return t


def survey(path, ra, dec, mag, **columns) -> TableOfMagnitudes:
    t = Table({"ra": np.asarray(ra, float), "dec": np.asarray(dec, float), "r_mag": np.asarray(mag, float)})
    for name, values in columns.items():
        t[name] = values
    t.write(path / "mags.ecsv", overwrite=True)
    return TableOfMagnitudes(path=path / "mags.ecsv")


def test_the_nearest_row_within_reach(tmp_path):
    rng = np.random.default_rng(3)
    ra, dec = 200.0 + rng.uniform(-0.2, 0.2, 60), 75.0 + rng.uniform(-0.05, 0.05, 60)
    shift = rng.uniform(0.0, 1.2, 60) * ARCSEC
    angle = rng.uniform(0.0, 2.0 * np.pi, 60)
    order = rng.permutation(60)
    there_ra = ra + shift * np.cos(angle) / np.cos(np.radians(dec))
    there_dec = dec + shift * np.sin(angle)
    mag, err = rng.uniform(12.0, 18.0, 60), rng.uniform(0.01, 0.1, 60)
    plugin = survey(tmp_path, there_ra[order], there_dec[order], mag[order], r_mag_err=err[order])
    found = MAGNITUDES.check(plugin.magnitudes(stars(ra, dec), "r"), "file")
    index = [int(name[1:]) for name in found["source_id"]]
    assert index == list(range(60))
    np.testing.assert_array_equal(np.asarray(found["mag"]), mag[index])
    np.testing.assert_array_equal(np.asarray(found["mag_err"]), err[index])
    assert (found.meta["system"], found.meta["band"]) == ("AB", "r")
    far = attrs.evolve(plugin, max_separation=0.5).magnitudes(stars(ra, dec), "r")
    assert [int(name[1:]) for name in far["source_id"]] == list(np.flatnonzero(shift < 0.5 * ARCSEC))


def test_rows_that_repeat_others_are_one(tmp_path):
    """A merged table; two rows with different magnitudes stay ambiguous."""
    ra = 10.0 + np.array([0.0, 0.1, 20.0, 20.1, 40.0]) * ARCSEC
    plugin = survey(
        tmp_path, ra, np.zeros(5), [14.0, 14.01, 15.0, 15.5, 16.0], r_mag_err=[0.02, 0.01, 0.02, 0.02, 0.02]
    )
    found = plugin.magnitudes(stars(10.0 + np.array([0.0, 20.0, 40.0]) * ARCSEC, np.zeros(3)), "r")
    assert dict(zip(found["source_id"], found["mag"], strict=True)) == {"s0": 14.01, "s2": 16.0}


@pytest.mark.parametrize(("ra", "dec"), [(359.99995, 0.0), (0.00005, -89.9999), (77.0, 90.0)])
def test_over_ra_zero_and_at_the_poles(tmp_path, ra, dec):
    there = (0.00005, 0.0) if dec == 0.0 else ((180.0, dec) if dec < 0 else (257.0, 89.9999))
    plugin = survey(tmp_path, [there[0], 90.0], [there[1], 10.0], [14.0, 15.0])
    found = plugin.magnitudes(stars(ra, dec), "r")
    # 0.36, 0.72 and 0.36 arcsec apart
    assert list(found["mag"]) == [14.0]


def test_ambiguous_matches_are_dropped(tmp_path):
    s = stars([10.0, 10.1, 10.2, 10.2 + 0.5 * ARCSEC, 10.3], [0.0] * 5)
    ra = [10.0, 10.1, 10.1 + 1.0 * ARCSEC, 10.2 + 0.25 * ARCSEC, 10.3, 10.3 + 2.0 * ARCSEC]
    found = survey(tmp_path, ra, [0.0] * 6, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).magnitudes(s, "r")
    # s1 has two rows in reach; s2 and s3 share one; s4's second row is too far
    assert dict(zip(found["source_id"], found["mag"], strict=True)) == {"s0": 1.0, "s4": 5.0}


def test_proper_motion_to_the_tables_epoch(tmp_path):
    # 300 mas/yr east over 16 years: 4.8 arcsec
    s = stars([50.0, 50.1], [60.0, 60.0], pmra=[300.0, np.nan], pmdec=[0.0, np.nan])
    ra_then = 50.0 - 4.8 * ARCSEC / np.cos(np.radians(60.0))
    plugin = survey(tmp_path, [ra_then, 50.1], [60.0, 60.0], [11.0, 12.0])
    assert list(plugin.magnitudes(s, "r")["source_id"]) == ["s1"]
    assert list(attrs.evolve(plugin, epoch=2000.0).magnitudes(s, "r")["mag"]) == [11.0, 12.0]


def test_columns_by_band_and_a_colour(tmp_path):
    plugin = survey(tmp_path, [1.0], [2.0], [14.0], V_mag=[15.0], V_err=[0.02], B_V=[0.7])
    columns = {"magnitude": "{band}_mag", "magnitude_error": "{band}_err", "colour": "B_V"}
    plugin = attrs.evolve(plugin, columns=columns, system="Vega")
    found = MAGNITUDES.check(plugin.magnitudes(stars(1.0, 2.0), "V"), "file")
    assert (found["mag"][0], found["mag_err"][0], found["colour"][0]) == (15.0, 0.02, 0.7)
    assert (found.meta["system"], found.meta["colour"]) == ("Vega", "B_V")
    with pytest.raises(NeedMissing, match="no column 'I_mag' for magnitude"):
        plugin.magnitudes(stars(1.0, 2.0), "I")


def test_errors_that_are_missing(tmp_path):
    plugin = survey(tmp_path, [1.0, 1.1], [2.0, 2.0], [14.0, 15.0])
    s = stars([1.0, 1.1], [2.0, 2.0])
    assert list(plugin.magnitudes(s, "r")["mag_err"]) == [0.05, 0.05]
    plugin = survey(tmp_path, [1.0, 1.1], [2.0, 2.0], [14.0, 15.0], r_mag_err=[0.01, np.nan])
    zero = survey(tmp_path, [1.0, 1.1], [2.0, 2.0], [14.0, 15.0], r_mag_err=[0.01, 0.0])
    assert list(zero.magnitudes(s, "r")["mag_err"]) == [0.01, 0.05]
    plugin = survey(tmp_path, [1.0, 1.1], [2.0, 2.0], [14.0, 15.0], r_mag_err=[0.01, np.nan])
    assert list(attrs.evolve(plugin, default_error=0.2).magnitudes(s, "r")["mag_err"]) == [0.01, 0.2]
    with pytest.raises(NeedMissing, match="'e_r' for magnitude_error"):
        attrs.evolve(plugin, columns={"magnitude_error": "e_r"}).magnitudes(s, "r")


def test_rows_without_a_magnitude_or_position(tmp_path):
    plugin = survey(tmp_path, [1.0, 1.1, np.nan], [2.0, 2.0, 2.0], [np.nan, 15.0, 16.0])
    assert list(plugin.magnitudes(stars([1.0, 1.1], [2.0, 2.0]), "r")["mag"]) == [15.0]


def test_no_match_and_no_star(tmp_path):
    plugin = survey(tmp_path, [1.0], [2.0], [14.0])
    assert len(MAGNITUDES.check(plugin.magnitudes(stars(90.0, 2.0), "r"), "file")) == 0
    assert len(MAGNITUDES.check(plugin.magnitudes(stars([], []), "r"), "file")) == 0


def test_mistakes(tmp_path):
    with pytest.raises(NeedMissing, match=r"\[calibration\.file\] path: .* does not exist"):
        TableOfMagnitudes(path=tmp_path / "none.ecsv").magnitudes(stars(1.0, 2.0), "r")
    with pytest.raises(ValueError, match="system must be one of 'AB', 'Vega'"):
        TableOfMagnitudes(system="ab")
    with pytest.raises(ValueError, match="max_separation must be a number above 0"):
        TableOfMagnitudes(max_separation=0.0)


def test_it_travels_to_workers():
    plugin = TableOfMagnitudes(system="Vega", epoch=2000.0)
    assert pickle.loads(pickle.dumps(plugin)) == plugin
