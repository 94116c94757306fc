"""The AAVSO's sequences: as its chart plotter writes them, and as tables."""

from __future__ import annotations

import json

import pytest
from astropy.table import Table

from lcframework.stars.sequence import read_sequence
from lcframework.storage.tables import Star
from lcframework.types import LcfError

CHART = {
    "chartid": "X16962MQ", "star": "RR LYR", "fov": 60.0, "photometry": [
        {"auid": "000-BCT-123", "ra": "19:25:27.91", "dec": "+42:47:03.7", "label": "99",
         "bands": [{"band": "V", "mag": 9.9, "error": 0.03}], "comments": None},
        {"auid": "000-BCT-124", "ra": "00:00:30.00", "dec": "-00:30:36.0", "label": "118", "bands": []},
    ],
}  # fmt: skip


def star(identity, ra, dec, pmdec=0.0):
    return Star(combined_footprint_hash="f", gaia_id=identity, name="a", ra=ra, dec=dec, pmra=0.0, pmdec=pmdec,
                ref_epoch=2016.0, magnitude=10.0)  # fmt: skip


def test_a_chart_as_the_plotter_writes_it(tmp_path):
    (tmp_path / "chart.json").write_text(json.dumps(CHART))
    sequence = read_sequence(tmp_path / "chart.json")
    assert sequence.chart == "X16962MQ"
    first, second = sequence.stars
    assert (first.auid, first.label, first.name) == ("000-BCT-123", "99", "000-BCT-123")
    assert (first.ra, first.dec) == pytest.approx((291.366292, 42.784361), abs=1e-6)
    assert (second.ra, second.dec) == pytest.approx((0.125, -0.51), abs=1e-9)


@pytest.mark.parametrize("ending", ["csv", "ecsv"])
def test_tables(ending, tmp_path):
    path = tmp_path / f"X1.{ending}"
    table = Table(rows=[("000-BCT-124", 0.125, -0.51, "099")], names=("AUID", "RA", "Dec", "Label"))
    table.write(path, format=f"ascii.{ending}")
    sequence = read_sequence(path)
    assert sequence.chart == "X1"
    (known,) = sequence.stars
    assert (known.auid, known.label, known.ra, known.dec) == ("000-BCT-124", "099", 0.125, -0.51)


def test_reference_stars_are_called_by_the_sequence(tmp_path):
    (tmp_path / "chart.json").write_text(json.dumps(CHART))
    sequence = read_sequence(tmp_path / "chart.json")
    moved = star("moved", 291.366292, 42.784361 + 16.0 / 3600, pmdec=1000.0)  # where it is 16 years later
    near, far = star("near", 0.125, -0.51 + 1.0 / 3600), star("far", 0.125, -0.51 + 10.0 / 3600)
    found = sequence.named([moved, near, far], 3.0)
    assert {identity: known.auid for identity, known in found.items()} == {
        "moved": "000-BCT-123", "near": "000-BCT-124",
    }  # fmt: skip
    assert sequence.named([], 3.0) == {}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.json", None, "there is no such file"),
        ("a.json", "{}", "lacks 'photometry'"),
        ("a.json", "not json", "can't be read"),
        ("a.json", '{"chartid": "X", "photometry": []}', "it has no stars"),
        ("a.csv", "auid,ra\n000-BCT-123,10.0\n", "lacks 'dec'"),
    ],
)
def test_what_is_no_sequence_is_refused(name, text, message, tmp_path):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(LcfError, match=rf"\[sequence\] path: .*{message}"):
        read_sequence(tmp_path / name)
