"""The catalogue ``file`` on good tables in many formats and on bad ones."""

from __future__ import annotations

import pickle
from pathlib import Path

import attrs
import numpy as np
import pytest
from astropy.table import Table

from lcframework.types import STARS, CatalogLimits, NeedMissing, Region, UnusableInput
from plugins_builtin.catalogs.file import COLUMNS, TableOfStars

EVERYWHERE = Region(150.0, 2.0, 5.0)
ANY = CatalogLimits()


def table(count: int = 40, seed: int = 5) -> Table:
    rng = np.random.default_rng(seed)
    t = Table()
    t["source_id"] = [f"s{i:03d}" for i in range(count)]
    t["ra"] = 150.0 + rng.uniform(-1.0, 1.0, count)
    t["dec"] = 2.0 + rng.uniform(-1.0, 1.0, count)
    t["phot_g_mean_mag"] = rng.uniform(10.0, 20.0, count)
    t["phot_bp_mean_mag"] = t["phot_g_mean_mag"] + 0.4
    t["phot_rp_mean_mag"] = t["phot_g_mean_mag"] - 0.5
    t["pmra"] = rng.normal(0.0, 20.0, count)
    t["pmdec"] = rng.normal(0.0, 20.0, count)
    t["ref_epoch"] = 2015.5
    return t


def write(t: Table, path: Path, **kwargs) -> TableOfStars:
    t.write(path, **kwargs)
    return TableOfStars(path=path)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("s.ecsv", "ascii.ecsv"),
        ("s.csv", "ascii.csv"),
        ("s.fits", "fits"),
        ("s.fits.gz", "fits"),
        ("s.vot", "votable"),
        ("s.dat", "ascii.commented_header"),
        ("s.txt", "ascii.ecsv"),
        ("s.tsv", "ascii.tab"),
    ],
)
def test_any_table_that_astropy_reads(tmp_path, name, kind):
    truth = table()
    catalog = write(truth, tmp_path / name, format=kind)
    stars = STARS.check(catalog.query(EVERYWHERE, ANY), "file")
    assert list(stars["source_id"]) == list(truth["source_id"])
    for quantity in ("ra", "dec", "magnitude", "bp", "rp", "pmra", "pmdec", "ref_epoch"):
        np.testing.assert_allclose(np.asarray(stars[quantity]), truth[COLUMNS[quantity]], rtol=1e-12)
    assert stars["ra"].unit == "deg"


def test_a_csv_with_semicolons(tmp_path):
    truth = table()
    catalog = write(truth, tmp_path / "s.csv", format="ascii.basic", delimiter=";")
    assert list(catalog.query(EVERYWHERE, ANY)["source_id"]) == list(truth["source_id"])


def test_region_and_limits(tmp_path):
    truth = table(400)
    catalog = write(truth, tmp_path / "s.ecsv")
    stars = catalog.query(Region(150.0, 2.0, 0.5), CatalogLimits((12.0, 15.0), 0.1, 1e6))
    rho = np.hypot((truth["ra"] - 150.0) * np.cos(np.radians(2.0)), truth["dec"] - 2.0)
    inside = (rho < 0.5) & (truth["phot_g_mean_mag"] >= 12.0) & (truth["phot_g_mean_mag"] <= 15.0)
    # limits on what the table lacks are ignored; flat geometry is good to 1e-4 deg here
    assert set(stars["source_id"]) == set(truth["source_id"][inside])
    assert len(stars) > 10


def test_what_is_missing_has_defaults(tmp_path):
    t = table()["ra", "dec", "phot_g_mean_mag"]
    stars = STARS.check(write(t, tmp_path / "s.csv").query(EVERYWHERE, ANY), "file")
    assert set(stars["source_id"]) == {str(i + 1) for i in range(40)}
    assert np.isnan(stars["pmra"]).all()
    assert np.isnan(stars["pmdec"]).all()
    assert (np.asarray(stars["ref_epoch"]) == 2016.0).all()
    assert "bp" not in stars.colnames
    old = TableOfStars(path=tmp_path / "s.csv", ref_epoch=2000.0).query(EVERYWHERE, ANY)
    assert (np.asarray(old["ref_epoch"]) == 2000.0).all()


def test_units_are_converted(tmp_path):
    t = table()
    want_ra, want_pm, want_bp = t["ra"].copy(), t["pmra"].copy(), t["phot_bp_mean_mag"].copy()
    t["ra"] = t["ra"] / 15.0
    t["ra"].unit, t["dec"].unit = "hourangle", "deg"
    t["pmra"] = t["pmra"] / 1000.0
    t["pmra"].unit = "arcsec / yr"
    t["phot_bp_mean_mag"].unit = "mag"
    stars = write(t, tmp_path / "s.ecsv").query(EVERYWHERE, ANY)
    np.testing.assert_allclose(np.asarray(stars["ra"]), want_ra, rtol=1e-14)
    np.testing.assert_allclose(np.asarray(stars["pmra"]), want_pm, rtol=1e-14)
    np.testing.assert_array_equal(np.asarray(stars["bp"]), want_bp)


def test_sexagesimal_positions(tmp_path):
    t = Table({"ra": ["10:00:00.0", "9 59 00", ""], "dec": ["+02:00:00", "-1 30 00", "3:0:0"], "m": [15.0, 16.0, 17.0]})
    t.write(tmp_path / "s.csv")
    catalog = TableOfStars(path=tmp_path / "s.csv", columns={"magnitude": "m"})
    stars = catalog.query(EVERYWHERE, ANY)
    np.testing.assert_allclose(np.asarray(stars["ra"]), [150.0, 149.75])
    np.testing.assert_allclose(np.asarray(stars["dec"]), [2.0, -1.5])
    assert list(stars["source_id"]) == ["1", "2"]


def test_masked_values_and_rows_without_a_position(tmp_path):
    t = Table(table(), masked=True)
    t["pmra"].mask[3] = True
    t["ref_epoch"].mask[4] = True
    t["ra"].mask[5] = True
    t["phot_g_mean_mag"].mask[6] = True
    stars = write(t, tmp_path / "s.ecsv").query(EVERYWHERE, ANY)
    stars.add_index("source_id")
    assert len(stars) == 38
    assert np.isnan(stars.loc["s003"]["pmra"])
    assert stars.loc["s004"]["ref_epoch"] == 2016.0
    assert "s005" not in list(stars["source_id"])


def test_whole_numbers_as_identifiers_keep_all_digits(tmp_path):
    t = table(3)
    t["source_id"] = 5_853_498_713_190_525_696 + np.arange(3, dtype=np.int64)
    stars = write(t, tmp_path / "s.fits").query(EVERYWHERE, ANY)
    assert list(stars["source_id"]) == [f"585349871319052569{6 + i}" for i in range(3)]


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 10.0), (10.0, 90.0)])
def test_over_ra_zero_and_at_the_pole(tmp_path, ra, dec):
    t = table(4)
    if dec == 90.0:
        t["ra"], t["dec"] = [5.0, 95.0, 185.0, 275.0], [89.95, 89.95, 89.85, 89.95]
    else:
        t["ra"], t["dec"] = [359.95, 0.05, 0.2, 359.8], [10.0, 10.0, 10.0, 10.05]
    stars = write(t, tmp_path / "s.ecsv").query(Region(ra, dec, 0.1), ANY)
    assert list(stars["source_id"]) == (["s000", "s001", "s003"] if dec == 90.0 else ["s000", "s001"])


# ---------------------------------------------------------------- mistakes


def test_no_file(tmp_path):
    with pytest.raises(NeedMissing, match=r"\[stars\.file\] path: the table .*none\.ecsv does not exist"):
        TableOfStars(path=tmp_path / "none.ecsv").query(EVERYWHERE, ANY)
    with pytest.raises(NeedMissing, match="is a folder"):
        TableOfStars(path=tmp_path).query(EVERYWHERE, ANY)


def test_a_needed_column_that_is_absent_names_the_nearest(tmp_path):
    catalog = write(table(), tmp_path / "s.ecsv")
    with pytest.raises(NeedMissing, match=r"no column 'DEC_J' for dec; did you mean 'dec'\?"):
        attrs.evolve(catalog, columns={"dec": "DEC_J"}).query(EVERYWHERE, ANY)
    t = table()
    t.rename_column("phot_g_mean_mag", "gmag")
    with pytest.raises(NeedMissing, match="no column 'phot_g_mean_mag' for magnitude; did you mean"):
        write(t, tmp_path / "g.ecsv").query(EVERYWHERE, ANY)


def test_an_optional_column_may_be_absent_only_by_its_default_name(tmp_path):
    t = table()
    t.remove_column("phot_bp_mean_mag")
    catalog = write(t, tmp_path / "s.ecsv")
    assert "bp" not in catalog.query(EVERYWHERE, ANY).colnames
    assert "bp" not in attrs.evolve(catalog, columns=dict(COLUMNS)).query(EVERYWHERE, ANY).colnames
    with pytest.raises(NeedMissing, match="no column 'BPmag' for bp"):
        attrs.evolve(catalog, columns={"bp": "BPmag"}).query(EVERYWHERE, ANY)


def test_a_quantity_that_does_not_exist():
    with pytest.raises(ValueError, match=r"maps 'magnitud'.*did you mean 'magnitude'"):
        TableOfStars(columns={"magnitud": "g"})
    with pytest.raises(ValueError, match="must name a column"):
        TableOfStars(columns={"magnitude": " "})


def test_a_column_without_numbers(tmp_path):
    t = table()
    t["phot_g_mean_mag"] = ["bright"] * len(t)
    with pytest.raises(UnusableInput, match="'phot_g_mean_mag' for magnitude does not hold numbers"):
        write(t, tmp_path / "s.ecsv").query(EVERYWHERE, ANY)
    t = table()
    t["ra"] = ["north"] * len(t)
    with pytest.raises(UnusableInput, match="neither numbers nor sexagesimal"):
        write(t, tmp_path / "r.ecsv").query(EVERYWHERE, ANY)


def test_a_unit_that_can_not_be(tmp_path):
    t = table()
    t["ra"].unit = "s"
    with pytest.raises(UnusableInput, match="is in 's', which can't become 'deg'"):
        write(t, tmp_path / "s.ecsv").query(EVERYWHERE, ANY)


def test_two_stars_of_one_name(tmp_path):
    t = table()
    t["source_id"][7] = "s003"
    with pytest.raises(UnusableInput, match=r"1 values .*more than once: 's003'"):
        write(t, tmp_path / "s.ecsv").query(EVERYWHERE, ANY)


def test_swapped_positions(tmp_path):
    t = table()
    t["ra"], t["dec"] = t["dec"].copy(), t["ra"].copy()
    with pytest.raises(UnusableInput, match="swapped"):
        write(t, tmp_path / "s.ecsv").query(EVERYWHERE, ANY)


@pytest.mark.parametrize("name", ["s.ecsv", "s.fits", "s.vot", "s.dat"])
def test_files_that_are_no_tables(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(range(256)) * 20)
    with pytest.raises(UnusableInput, match="can't be read as a table"):
        TableOfStars(path=tmp_path / name).query(EVERYWHERE, ANY)


def test_a_truncated_fits(tmp_path):
    table(4000).write(tmp_path / "s.fits")
    whole = (tmp_path / "s.fits").read_bytes()
    (tmp_path / "s.fits").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnusableInput):
        TableOfStars(path=tmp_path / "s.fits").query(EVERYWHERE, ANY)


def test_a_table_without_rows(tmp_path):
    table()[:0].write(tmp_path / "s.ecsv")
    with pytest.raises(UnusableInput, match="has no rows"):
        TableOfStars(path=tmp_path / "s.ecsv").query(EVERYWHERE, ANY)
    t = table()
    t["ra"] = np.nan
    with pytest.raises(UnusableInput, match="no row has a position"):
        write(t, tmp_path / "n.ecsv").query(EVERYWHERE, ANY)


def test_it_travels_to_workers():
    catalog = TableOfStars(columns={"ra": "RA"})
    assert pickle.loads(pickle.dumps(catalog)) == catalog


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (np.zeros((3, 2)), "the column 'ra' for ra has several values in each row"),
        (np.zeros((3, 2, 2)), "the column 'ra' for ra has several values in each row"),
        (np.array([b"\xff\xfe"] * 3), "the column 'ra' for ra is no text"),
    ],
    ids=["two", "three", "bytes"],
)
def test_columns_of_no_single_values(tmp_path, column, said):
    table = Table({"dec": [1.0, 2.0, 3.0], "phot_g_mean_mag": [15.0, 16.0, 17.0]})
    table["ra"] = column
    table.write(tmp_path / "t.fits")
    with pytest.raises(UnusableInput) as refused:
        TableOfStars(tmp_path / "t.fits").query(Region(0.0, 2.0, 5.0), CatalogLimits())
    assert said in str(refused.value)
