"""The catalogue ``gaia`` against a loopback TAP service that answers, fails and lies."""

from __future__ import annotations

import logging
import pickle
import time

import attrs
import numpy as np
import pytest
from astropy.table import Table

from lcframework.testing import check_star_catalog
from lcframework.types import STARS, CatalogLimits, NeedMissing, Region
from plugins_builtin.catalogs.gaia import ARCHIVE, VIZIER, Gaia, gaia_query
from plugins_builtin.services.adql import number, table_name
from plugins_builtin.services.tap import SYNC_ROWS

QUIET = CatalogLimits()


def sky(count: int, ra: float, dec: float, radius: float, seed: int) -> Table:
    """Stars uniform in a square of tangent plane around a position, with Gaia's columns."""
    rng = np.random.default_rng(seed)
    a, d = np.radians([ra, dec])
    towards = np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    east = np.array([-np.sin(a), np.cos(a), 0.0])
    north = np.cross(towards, east)
    xi, eta = np.radians(rng.uniform(-radius, radius, (2, count)))
    vectors = towards + xi[:, None] * east + eta[:, None] * north
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    g = rng.uniform(14.0, 21.0, count)
    table = Table(masked=True)
    table["source_id"] = 5_853_498_713_190_525_696 + np.arange(count, dtype=np.int64)
    table["ra"] = np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0])) % 360.0
    table["dec"] = np.degrees(np.arcsin(vectors[:, 2]))
    table["ref_epoch"] = 2016.0
    table["pmra"], table["pmdec"] = rng.normal(0.0, 10.0, (2, count))
    table["phot_g_mean_mag"] = g
    table["phot_bp_mean_mag"], table["phot_rp_mean_mag"] = g + 0.5, g - 0.6
    table["astrometric_excess_noise"] = rng.exponential(1.0, count)
    table["phot_g_mean_flux_over_error"] = rng.uniform(50.0, 5000.0, count)
    table["phot_variable_flag"] = np.where(rng.random(count) < 0.1, "VARIABLE", "NOT_AVAILABLE")
    for name in ("pmra", "pmdec", "phot_bp_mean_mag"):
        table[name].mask[::17] = True
    return table


def as_vizier(table: Table) -> Table:
    return Table({VIZIER[name]: table[ARCHIVE[name]] for name in VIZIER}, masked=True)


@pytest.fixture
def archive(tap_service):
    table = sky(400, 0.02, 12.0, 0.1, seed=1)
    return tap_service({"gaiadr3.gaia_source": table, "I/355/gaiadr3": as_vizier(table)})


@pytest.fixture
def gaia(archive, tmp_path):
    return Gaia(
        url=archive.url, mirror="", timeout=5.0, retries=2, backoff=0.01, cache_dir=tmp_path / "cache", offline=False
    )


FIELD = Region(0.02, 12.0, 0.08)


def expected(archive, region: Region, limits: CatalogLimits = QUIET) -> set[str]:
    t = archive.tables["gaiadr3.gaia_source"]
    ra, dec, ra0, dec0 = (np.radians(np.asarray(x)) for x in (t["ra"], t["dec"], region.ra, region.dec))
    # haversine, unlike the code under test
    h = np.sin((dec - dec0) / 2) ** 2 + np.cos(dec) * np.cos(dec0) * np.sin((ra - ra0) / 2) ** 2
    g = np.asarray(t["phot_g_mean_mag"])
    keep = np.degrees(2 * np.arcsin(np.sqrt(h))) <= region.radius
    keep &= (g >= limits.magnitude[0]) & (g <= limits.magnitude[1])
    keep &= np.asarray(t["astrometric_excess_noise"]) <= limits.max_astrometric_excess_noise
    keep &= np.asarray(t["phot_g_mean_flux_over_error"]) >= limits.min_flux_over_error
    return {str(name) for name in t["source_id"][keep]}


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("centre", [(0.02, 12.0), (359.995, -35.0), (123.0, 89.95), (200.0, -89.99)])
def test_cone_and_limits_anywhere_on_the_sky(tap_service, centre):
    server = tap_service({"gaiadr3.gaia_source": sky(400, *centre, 0.1, seed=2)})
    catalog = Gaia(url=server.url, mirror="")
    region = Region(*centre, 0.08)
    for limits in (QUIET, CatalogLimits((16.0, 20.0), 1.5, 100.0)):
        stars = STARS.check(catalog.query(region, limits), "gaia")
        assert set(stars["source_id"]) == expected(server, region, limits)
        assert 20 < len(stars) < 400


def test_the_limit_is_on_the_excess_noise_in_mas_and_not_on_its_significance():
    limits = CatalogLimits((16.0, 20.0), 3.0, 100.0)
    archive = gaia_query("gaiadr3.gaia_source", FIELD, limits)
    assert "astrometric_excess_noise <= 3.0" in archive
    assert "astrometric_excess_noise_sig" not in archive
    vizier = gaia_query("I/355/gaiadr3", FIELD, limits)
    assert " epsi <= 3.0" in vizier
    assert "sepsi" not in vizier


def test_it_fulfils_the_contract(gaia, archive):
    limits = CatalogLimits((16.0, 20.0), 1.5, 100.0)
    check_star_catalog(gaia, FIELD, limits, expected(archive, FIELD, limits))


def test_the_star_table_holds_what_the_archive_holds(gaia, archive):
    stars = gaia.query(FIELD, QUIET)
    truth = archive.tables["gaiadr3.gaia_source"]
    row = {str(name): i for i, name in enumerate(truth["source_id"])}
    order = [row[name] for name in stars["source_id"]]
    assert list(stars["source_id"]) == sorted(stars["source_id"])
    for name, original in ARCHIVE.items():
        if name not in ("source_id", "variable"):
            want = np.ma.filled(truth[original][order].astype(float), np.nan)
            np.testing.assert_array_equal(np.asarray(stars[name]), want, err_msg=name)
    np.testing.assert_array_equal(stars["variable"], truth["phot_variable_flag"][order] == "VARIABLE")
    assert np.isnan(stars["pmra"]).any()
    assert {c.name: str(stars[c.name].unit or "") for c in STARS.columns} == {c.name: c.unit for c in STARS.columns}
    assert stars.meta["band"] == "G"


def test_a_polygon_over_ra_zero(gaia):
    corners = ((359.98, 11.96), (0.06, 11.96), (0.06, 12.04), (359.98, 12.04))
    stars = gaia.query(attrs.evolve(FIELD, vertices=corners), QUIET)
    every = gaia.query(FIELD, QUIET)
    offset = (np.asarray(every["ra"]) + 180.0) % 360.0 - 180.0
    inside = (offset > -0.02) & (offset < 0.06) & (np.abs(np.asarray(every["dec"]) - 12.0) < 0.04)
    # great circles bulge from parallels by 5e-7 deg over such a field
    assert set(stars["source_id"]) == set(every["source_id"][inside])
    assert 10 < len(stars) < len(every)


def test_a_server_that_ignores_the_conditions_is_corrected(gaia, archive, monkeypatch):
    limits = CatalogLimits((16.0, 18.0), 1.0, 500.0)
    want = expected(archive, FIELD, limits)
    monkeypatch.setattr(type(archive), "_condition", lambda self, table, text: np.ones(len(table), bool))
    assert set(gaia.query(FIELD, limits)["source_id"]) == want


def test_vizier_columns(archive, gaia):
    by_vizier = attrs.evolve(gaia, table="I/355/gaiadr3", cache_dir=None)
    a, b = gaia.query(FIELD, QUIET), by_vizier.query(FIELD, QUIET)
    assert a.colnames == [n for n in a.colnames if n in b.colnames]
    for name in a.colnames:
        np.testing.assert_array_equal(np.asarray(a[name]), np.asarray(b[name]))


def test_a_field_without_stars_gives_an_empty_table_that_is_not_kept(gaia, archive):
    region = Region(90.0, 40.0, 0.05)
    for asked in (1, 2):
        stars = STARS.check(gaia.query(region, QUIET), "gaia")
        assert len(stars) == 0
        assert len(archive.log) == asked
    assert not list(gaia.cache_dir.glob("*")) if gaia.cache_dir.exists() else True


# ---------------------------------------------------------------- cache


def test_the_second_time_the_cache_answers_with_the_server_down(gaia, archive):
    first = gaia.query(FIELD, QUIET)
    archive.close()
    archive.close = lambda: None
    second = attrs.evolve(gaia, retries=0).query(FIELD, QUIET)
    assert len(archive.log) == 1
    assert first.colnames == second.colnames
    for name in first.colnames:
        np.testing.assert_array_equal(np.asarray(first[name]), np.asarray(second[name]))
        assert first[name].dtype == second[name].dtype
    with pytest.raises(NeedMissing):
        attrs.evolve(gaia, retries=0).query(FIELD, CatalogLimits((15.0, 16.0)))


def test_another_question_is_asked_anew(gaia, archive):
    gaia.query(FIELD, QUIET)
    gaia.query(attrs.evolve(FIELD, radius=0.07), QUIET)
    gaia.query(FIELD, CatalogLimits((16.0, 20.0)))
    attrs.evolve(gaia, table="I/355/gaiadr3").query(FIELD, QUIET)
    assert len(archive.log) == 4
    attrs.evolve(gaia, timeout=7.0, retries=9, url=archive.url + "/").query(FIELD, QUIET)
    assert len(archive.log) == 4


def damage_cut(text: str) -> str:
    return "\n".join(text.splitlines()[:-5]) + "\n"


def damage_value(text: str) -> str:
    head, _, tail = text.rpartition("5853498713190525")
    return head + "5853498713190526" + tail


@pytest.mark.parametrize("damage", [damage_cut, damage_value, lambda text: "", lambda text: text[:300]])
def test_a_damaged_file_in_the_cache_is_asked_for_again(gaia, archive, damage, caplog):
    first = gaia.query(FIELD, QUIET)
    (path,) = gaia.cache_dir.glob("*.ecsv")
    good = path.read_text()
    path.write_text(damage(good))
    assert path.read_text() != good
    with caplog.at_level(logging.WARNING):
        second = gaia.query(FIELD, QUIET)
    assert len(archive.log) == 2
    assert str(path) in caplog.text
    assert list(first["source_id"]) == list(second["source_id"])
    assert path.read_text() == good


def test_offline_only_the_cache_answers(gaia, archive):
    offline = attrs.evolve(gaia, offline=True)
    with pytest.raises(NeedMissing, match="lcf prefetch"):
        offline.query(FIELD, QUIET)
    with pytest.raises(NeedMissing, match="no cache_dir"):
        attrs.evolve(offline, cache_dir=None).query(FIELD, QUIET)
    assert archive.log == []
    stars = gaia.query(FIELD, QUIET)
    assert list(offline.query(FIELD, QUIET)["source_id"]) == list(stars["source_id"])
    assert len(archive.log) == 1


def test_a_cache_that_can_not_be_written_does_not_lose_the_answer(gaia, archive, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    stars = attrs.evolve(gaia, cache_dir=tmp_path / "file" / "cache").query(FIELD, QUIET)
    assert set(stars["source_id"]) == expected(archive, FIELD)
    assert "was not kept" in caplog.text


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize("fault", ["http500", "http503", "truncate", "hangup", "html"])
def test_a_passing_fault_is_tried_again(gaia, archive, fault):
    archive.script = [fault, fault]
    stars = gaia.query(FIELD, QUIET)
    assert set(stars["source_id"]) == expected(archive, FIELD)
    assert len(archive.log) == 3


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("http500", "HTTP status 500"),
        ("truncate", "cut off"),
        ("hangup", "."),
        ("html", "not a VOTable"),
    ],
)
def test_a_lasting_fault_ends_after_the_retries_and_nothing_is_kept(gaia, archive, fault, words):
    archive.script = [fault] * 10
    with pytest.raises(NeedMissing, match=words) as caught:
        gaia.query(FIELD, QUIET)
    assert len(archive.log) == 3  # one try and two retries
    assert "127.0.0.1" in str(caught.value)
    assert not gaia.cache_dir.exists() or not list(gaia.cache_dir.iterdir())
    archive.script = []
    assert set(gaia.query(FIELD, QUIET)["source_id"]) == expected(archive, FIELD)


def test_a_host_that_refuses_connections(gaia, archive):
    archive.close()
    archive.close = lambda: None
    with pytest.raises(NeedMissing, match=r"connection failed: .*Connection refused"):
        gaia.query(FIELD, QUIET)


@pytest.mark.parametrize("fault", ["stall", "trickle"])
def test_a_server_that_stalls_is_left_at_the_time_out(gaia, archive, fault):
    archive.script = [fault] * 10
    began = time.monotonic()
    with pytest.raises(NeedMissing, match=r"no whole answer within 0\.3 s"):
        attrs.evolve(gaia, timeout=0.3, retries=1).query(FIELD, QUIET)
    assert len(archive.log) == 2
    assert 0.6 < time.monotonic() - began < 3.0


@pytest.mark.parametrize(
    ("fault", "words"), [("refuse", "out of quota"), ("http404", "HTTP status 404"), ("lacking", "lacks")]
)
def test_what_no_retry_mends_is_not_retried(gaia, archive, fault, words):
    archive.script = [fault] * 10
    with pytest.raises(NeedMissing, match=words):
        gaia.query(FIELD, QUIET)
    assert len(archive.log) == 1


def test_a_table_that_is_not_there_is_reported_in_the_servers_words(gaia, archive):
    with pytest.raises(NeedMissing, match=r"no table gaiadr9\.stars"):
        attrs.evolve(gaia, table="gaiadr9.stars").query(FIELD, QUIET)
    assert len(archive.log) == 1


def test_pauses_double(monkeypatch, gaia, archive):
    pauses = []
    monkeypatch.setattr("plugins_builtin.services.asking.time.sleep", pauses.append)
    archive.script = ["http500"] * 4
    attrs.evolve(gaia, retries=4, backoff=25.0).query(FIELD, QUIET)
    assert pauses == [25.0, 50.0, 60.0, 60.0]  # never longer than a minute


def test_a_busy_service_is_left_for_as_long_as_it_asks(monkeypatch, gaia, archive):
    pauses = []
    monkeypatch.setattr("plugins_builtin.services.asking.time.sleep", pauses.append)
    archive.script = ["busy", "busy"]
    assert len(attrs.evolve(gaia, backoff=5.0).query(FIELD, QUIET)) > 20
    assert pauses == [7.0, 10.0]


# ---------------------------------------------------------------- mirror


@pytest.mark.parametrize("fault", ["http500", "truncate", "stall", "refuse", "empty", "lacking"])
def test_the_mirror_answers_for_an_archive_that_does_not(gaia, archive, tap_service, fault):
    truth = archive.tables["gaiadr3.gaia_source"]
    mirror = tap_service({"I/355/gaiadr3": as_vizier(truth)})
    archive.script = [fault] * 10
    both = attrs.evolve(gaia, mirror=mirror.url, timeout=1.0, retries=1)
    stars = STARS.check(both.query(FIELD, QUIET), "gaia")
    assert set(stars["source_id"]) == expected(archive, FIELD)
    assert len(mirror.log) == 1
    assert (np.asarray(stars["ref_epoch"]) == 2016.0).all()
    asked = len(archive.log)
    both.query(FIELD, QUIET)
    assert (len(archive.log), len(mirror.log)) == (asked, 1)  # the mirror's answer is kept


def test_an_archive_that_is_down_and_a_mirror_that_is_down(gaia, archive, tap_service):
    mirror = tap_service({})
    archive.script, mirror.script = ["http503"] * 10, ["http500"] * 10
    with pytest.raises(NeedMissing, match=r"(?s)status 503.*Gaia mirror.*no table"):
        attrs.evolve(gaia, mirror=mirror.url, retries=0).query(FIELD, QUIET)


# ---------------------------------------------------------------- row limits


def test_an_answer_cut_at_the_limit_of_sync_queries_is_asked_for_as_a_job(gaia, archive):
    archive.sync_limit = 30
    stars = gaia.query(FIELD, QUIET)
    assert set(stars["source_id"]) == expected(archive, FIELD)
    assert [how for how, _ in archive.log] == ["sync", "async"]
    assert archive.deleted == ["/tap/async/job0"]


def test_a_silent_cut_at_the_usual_limit_is_noticed(tap_service):
    server = tap_service({"gaiadr3.gaia_source": sky(SYNC_ROWS + 200, 40.0, 5.0, 0.05, seed=3)})
    server.sync_limit, server.flag_overflow = SYNC_ROWS, False
    stars = Gaia(url=server.url, mirror="").query(Region(40.0, 5.0, 1.0), QUIET)
    assert len(stars) == SYNC_ROWS + 200


def test_more_stars_than_max_rows_is_an_error_and_is_not_kept(gaia, archive):
    with pytest.raises(NeedMissing, match="max_rows"):
        attrs.evolve(gaia, max_rows=40).query(FIELD, QUIET)
    assert not gaia.cache_dir.exists()


def test_a_job_that_fails_and_one_that_never_ends(gaia, archive):
    archive.sync_limit, archive.job_phases = 30, ["EXECUTING", "ERROR"]
    with pytest.raises(NeedMissing, match="refused"):
        gaia.query(FIELD, QUIET)
    archive.job_phases = ["EXECUTING"]
    with pytest.raises(NeedMissing, match="still EXECUTING"):
        attrs.evolve(gaia, timeout=0.4, retries=0).query(FIELD, QUIET)


# ---------------------------------------------------------------- ADQL and options


def test_numbers_in_queries():
    assert number(1e-9) == "0.000000001"
    assert number(-0.1 - 0.2) == "-0.30000000000000004"
    assert number(12) == "12.0"
    for bad in (np.nan, np.inf, "1; DROP TABLE"):
        with pytest.raises(ValueError, match=r"number|convert"):
            number(bad)


def test_names_of_tables():
    assert table_name("gaiadr3.gaia_source") == "gaiadr3.gaia_source"
    assert table_name("J/A+A/649/A3/t-1") == '"J/A+A/649/A3/t-1"'
    for bad in ("", "a b", 'a"b', "a; DROP", "a)--"):
        with pytest.raises(ValueError, match="not the name of a table"):
            table_name(bad)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "gea.esac.esa.int"}, "url must be an http"),
        ({"table": "x; y"}, "table:"),
        ({"timeout": 0.0}, "timeout must be a number above 0"),
        ({"retries": -1}, "retries must be a whole number, 0 or more"),
        ({"max_rows": 0}, "max_rows must be a whole number, 1 or more"),
    ],
)
def test_options_that_make_no_sense(options, words):
    with pytest.raises(ValueError, match=words):
        Gaia(**options)


def test_it_travels_to_workers(gaia):
    assert pickle.loads(pickle.dumps(gaia)) == gaia
