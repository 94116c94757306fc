"""What is made, once; what is made again, and why; and what a run tells and records."""

from __future__ import annotations

import contextlib
import json
import sqlite3


def test_all_is_made_once(toys):
    assert toys.done() == {"initialize_database": 1, "toy": 3, "toy_sum": 1}
    assert (toys.folder / "sum").read_text() == "5"
    report = toys.run()
    assert report.units_done == 0
    assert report.exit_code == 0
    assert [s.up_to_date for s in report.stages] == [1, 3, 1]
    assert toys.made() == {"u0": 1, "u1": 1, "u2": 1}
    assert (toys.folder / "finished").read_text() == "x"


def test_unit_more_costs_itself_and_the_sum(toys):
    toys.run()
    toys.write("size = 4")
    assert toys.done() == {"toy": 1, "toy_sum": 1}
    assert (toys.folder / "sum").read_text() == "14"
    assert toys.made() == {"u0": 1, "u1": 1, "u2": 1, "u3": 1}


def test_changed_option_makes_all_again_and_is_named(toys):
    toys.run()
    toys.write("factor = 2.0")
    pending = toys.status()["toy"].pending
    assert [p.why for p in pending] == [("stage_options.factor: 1.0 -> 2.0",)] * 3
    assert toys.status()["toy_sum"].waiting
    assert toys.done() == {"toy": 3, "toy_sum": 1}
    toys.write("factor = 1.0")
    assert toys.done() == {"toy": 3, "toy_sum": 1}


def test_an_option_at_its_default_is_no_part_of_what_a_unit_is_made_from(toys):
    """So that one which a later version adds makes nothing again."""
    toys.run()
    query = "select components from products where stage = 'toy'"
    with contextlib.closing(sqlite3.connect(toys.folder / "database.sqlite3")) as connection, connection:
        recorded = [json.loads(text) for (text,) in connection.execute(query)]
    assert [r["inner"]["number"] for r in recorded] == [0, 1, 2]
    assert all(r["stage_options"] == {} for r in recorded)
    toys.write("factor = 1.0")
    assert toys.done() == {}


def test_a_stage_sees_the_products_that_it_needs_and_no_others(toys):
    toys.write("beyond = true")
    report = toys.run()
    assert report.exit_code == 1
    assert report.message == (
        "the stage toy asks for products of psf_modeling, which its `needs` does not name: add it there"
    )


def test_what_a_stage_joins_is_made_again_where_it_is_gone(toys):
    toys.run()
    (toys.folder / "finished").unlink()
    assert toys.run().units_done == 0
    assert (toys.folder / "finished").exists()


def test_events(toys):
    heard = []
    toys.run(listeners=[heard.append])
    assert [e.kind for e in heard][:2] == ["run_started", "stage_started"]
    assert heard[-1].kind == "run_finished"
    mine = [e for e in heard if e.stage == "toy"]
    assert [e.kind for e in mine] == ["stage_started", *["unit_done"] * 3, "stage_finished"]
    assert [(e.done, e.total) for e in mine[1:-1]] == [(1, 3), (2, 3), (3, 3)]
    assert mine[1].message == "is 0"
    again = []
    toys.run(listeners=[again.append])
    assert [e.kind for e in again] == ["run_started", "run_finished"]


def test_runs_are_recorded(toys):
    toys.plan(u1="unusable")
    toys.run()
    with contextlib.closing(sqlite3.connect(toys.folder / "database.sqlite3")) as connection, connection:
        rows = connection.execute("select outcome, units_done, units_unusable, stages, settings from runs").fetchall()
    assert rows[0][:3] == ("finished with unusable inputs", 4, 1)
    assert rows[0][3] == "initialize_database .. toy_sum"
    assert rows[0][4] == toys.path.read_text()
