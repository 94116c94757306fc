"""Files that can't be read now are no fault of the units that read them."""

from __future__ import annotations

import contextlib
import sqlite3


def stage(report, name="toy"):
    return next(s for s in report.stages if s.name == name)


def products(toys):
    with contextlib.closing(sqlite3.connect(toys.folder / "database.sqlite3")) as connection:
        return dict(connection.execute("select unit, state from products where stage = 'toy'").fetchall())


def test_file_that_is_away_for_a_moment_is_read_at_once(toys):
    toys.plan(u1="away for a moment")
    report = toys.run()
    assert report.exit_code == 0
    assert stage(report).done == 3


def test_unit_whose_file_is_away_is_left_for_the_next_run(toys):
    assert toys.run().exit_code == 0
    toys.write(toy="size = 5")
    toys.plan(u3="away")
    report = toys.run()
    assert report.exit_code == 3
    assert [(u.unit, u.reason) for u in report.not_read] == [("unit 3", "Stale file handle (/share/a.fits)")]
    assert report.unusable == []
    assert report.bugs == []
    assert products(toys) == dict.fromkeys(["u0", "u1", "u2", "u4"], "made")  # nothing is recorded of it
    assert stage(report, "toy_sum").done == 1  # the rest goes on
    assert toys.status()["toy"].pending[0].why == ("new",)
    toys.plan()
    assert toys.done() == {"toy": 1, "toy_sum": 1}


def test_first_run_does_not_rest_on_what_happens_to_be_there(toys):
    toys.plan(u1="away")
    report = toys.run()
    assert report.exit_code == 1
    assert "In a first run the scale of the fluxes" in report.message
    assert products(toys) == {"u0": "made", "u2": "made"}
    toys.plan()
    assert toys.done() == {"toy": 1, "toy_sum": 1}


def test_storage_that_is_away_stops_the_run(toys):
    """Not what happens to be readable decides what is published."""
    toys.plan(u0="away", u1="away")
    report = toys.run()
    assert report.exit_code == 1
    assert report.message.startswith("2 of 3 inputs of toy could not be read (unit 0: Stale file handle")
    assert "run again when it is back" in report.message
    assert [s.name for s in report.stages] == ["initialize_database", "toy"]
    assert not (toys.folder / "finished").exists()
    toys.plan()
    assert toys.done() == {"toy": 2, "toy_sum": 1}


def test_product_that_is_out_of_date_and_can_not_be_made_anew_stops_the_run(toys):
    assert toys.run().exit_code == 0
    toys.write(toy="factor = 2.0")
    toys.plan(u1="away")
    report = toys.run()
    assert report.exit_code == 1
    assert "out of date" in report.message
    toys.plan()
    assert toys.done() == {"toy": 1, "toy_sum": 1}
