"""The catalogue ``vizier`` against a loopback TAP service with VizieR's names."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from astropy.table import Table

from lcframework.testing import check_star_catalog
from lcframework.types import STARS, CatalogLimits, NeedMissing, Region
from plugins_builtin.catalogs.vizier import Vizier, vizier_query

FIELD = Region(31.04, 46.69, 0.4)


def tycho2(count: int = 200) -> Table:
    rng = np.random.default_rng(11)
    t = Table(masked=True)
    t["TYC2"], t["TYC3"] = np.arange(count), 1 + np.arange(count) % 2
    t["TYC1"] = 3281
    t["RAmdeg"] = 31.04 + rng.uniform(-0.8, 0.8, count)
    t["DEmdeg"] = 46.69 + rng.uniform(-0.5, 0.5, count)
    t["RA(ICRS)"], t["DE(ICRS)"] = t["RAmdeg"] + 1e-4, t["DEmdeg"]
    t["VTmag"], t["BTmag"] = rng.uniform(7.0, 12.5, count), rng.uniform(8.0, 13.0, count)
    t["pmRA"], t["pmDE"] = rng.normal(0.0, 10.0, (2, count))
    t["RAmdeg"].mask[::13] = True  # Tycho-2 has stars without a mean position
    return t


@pytest.fixture
def service(tap_service):
    return tap_service({"I/259/tyc2": tycho2()})


@pytest.fixture
def vizier(service, tmp_path):
    return Vizier(server=service.url, timeout=5.0, retries=1, backoff=0.01, cache_dir=tmp_path)


def inside(t: Table, region: Region) -> np.ndarray:
    ra, dec = np.radians(np.ma.filled(t["RAmdeg"].astype(float), np.nan)), np.radians(np.asarray(t["DEmdeg"]))
    ra0, dec0 = np.radians([region.ra, region.dec])
    cosine = np.sin(dec) * np.sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(ra - ra0)
    with np.errstate(invalid="ignore"):
        return np.degrees(np.arccos(cosine)) <= region.radius


def test_tycho2_by_default(vizier, service):
    t = service.tables["I/259/tyc2"]
    stars = STARS.check(vizier.query(FIELD, CatalogLimits((8.0, 12.0))), "vizier")
    keep = inside(t, FIELD) & (np.asarray(t["VTmag"]) >= 8.0) & (np.asarray(t["VTmag"]) <= 12.0)
    assert set(stars["source_id"]) == {f"3281-{r['TYC2']}-{r['TYC3']}" for r in t[keep]}
    assert len(stars) > 20
    assert (np.asarray(stars["ref_epoch"]) == 2000.0).all()
    by_name = {f"3281-{r['TYC2']}-{r['TYC3']}": r for r in t}
    for star in stars:
        row = by_name[star["source_id"]]
        assert (star["ra"], star["dec"], star["magnitude"]) == (row["RAmdeg"], row["DEmdeg"], row["VTmag"])
        assert (star["pmra"], star["pmdec"]) == (row["pmRA"], row["pmDE"])
    assert "bp" not in stars.colnames


def test_it_fulfils_the_contract(vizier):
    check_star_catalog(vizier, FIELD)


def test_columns_of_ones_own(vizier):
    columns = {"source_id": "TYC2", "ra": "RA(ICRS)", "dec": "DE(ICRS)", "magnitude": "BTmag"}
    stars = STARS.check(attrs.evolve(vizier, columns=columns, ref_epoch=1991.5).query(FIELD, CatalogLimits()), "vizier")
    assert np.isnan(stars["pmra"]).all()
    assert (np.asarray(stars["ref_epoch"]) == 1991.5).all()
    assert stars.meta["band"] == "BTmag"


def test_the_cache_answers_offline(vizier, service):
    first = vizier.query(FIELD, CatalogLimits())
    second = attrs.evolve(vizier, offline=True).query(FIELD, CatalogLimits())
    assert len(service.log) == 1
    np.testing.assert_array_equal(np.asarray(first["ra"]), np.asarray(second["ra"]))
    with pytest.raises(NeedMissing, match="lcf prefetch"):
        attrs.evolve(vizier, offline=True).query(attrs.evolve(FIELD, ra=32.0), CatalogLimits())


def test_mirror_and_retries(vizier, service, tap_service):
    mirror = tap_service(service.tables)
    service.script = ["http500"] * 5
    stars = attrs.evolve(vizier, mirror=mirror.url).query(FIELD, CatalogLimits())
    assert len(stars) > 20
    assert (len(service.log), len(mirror.log)) == (2, 1)


def test_a_catalogue_or_column_that_is_not_there(vizier):
    with pytest.raises(NeedMissing, match="no table"):
        attrs.evolve(vizier, catalog="I/999/none").query(FIELD, CatalogLimits())
    columns = {"source_id": "TYC1", "ra": "RAmdeg", "dec": "DEmdeg", "magnitude": "Vmag"}
    with pytest.raises(NeedMissing, match="no column"):
        attrs.evolve(vizier, columns=columns).query(FIELD, CatalogLimits())


def test_names_can_not_break_out_of_the_query():
    columns = {"source_id": "id", "ra": 'ra" FROM x --', "dec": "de", "magnitude": "m"}
    adql = vizier_query("I/259/tyc2", columns, FIELD, CatalogLimits())
    assert '"ra"" FROM x --" AS q_ra' in adql


def test_a_mapping_without_what_is_needed():
    with pytest.raises(ValueError, match="must also map dec, magnitude"):
        Vizier(columns={"source_id": "id", "ra": "ra"})
