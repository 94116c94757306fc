"""How units and runs end: unusable input, a missing need, a bug, a full disk, an interruption."""

from __future__ import annotations

import pytest
import sqlalchemy as sa


def test_unusable_input_is_recorded_and_not_tried_again(toys):
    toys.plan(u1="unusable")
    report = toys.run()
    assert report.exit_code == 3
    assert [(u.stage, u.unit, u.reason) for u in report.unusable] == [("toy", "unit 1", "unit 1 is broken")]
    assert (toys.folder / "sum").read_text() == "4"
    toys.plan()
    report = toys.run()
    assert report.exit_code == 3  # nothing that it depends on changed
    assert report.units_done == 0
    assert report.unusable[0].reason == "unit 1 is broken"
    assert toys.status()["toy"].unusable == 1
    assert toys.done(force=["toy"]) == {"toy": 3, "toy_sum": 1}
    assert toys.run().exit_code == 0


def test_unusable_input_is_tried_again_where_the_stage_says_so(toys):
    toys.plan(u1="unusable")
    toys.run()
    toys.plan(retry=True)
    assert toys.status()["toy"].pending[0].why == ("to be tried again: unit 1 is broken",)
    assert toys.done() == {"toy": 1, "toy_sum": 1}


def test_bug_is_logged_and_tried_again(toys):
    toys.plan(u2="bug")
    report = toys.run()
    assert report.exit_code == 1
    (bug,) = report.bugs
    assert bug.unit == "unit 2"
    assert bug.reason.startswith("lcf_stages toy (toys of lcf-toys 1.5): ZeroDivisionError: two lines of text (")
    assert "lcf_toys.py, line " in bug.reason
    assert bug.reason.endswith("). Please report it to the authors of lcf-toys")
    log = (toys.folder / "lcf.log").read_text()
    assert "Traceback" in log
    assert "of text" in log
    assert toys.status()["toy"].made == 2
    toys.plan()
    assert toys.done() == {"toy": 1, "toy_sum": 1}


def test_missing_need_stops_the_run_with_its_advice(toys):
    toys.plan(u0="missing", u2="missing")
    report = toys.run()
    assert report.exit_code == 1
    assert report.message == "a tool is missing: apt install tool"
    assert [s.name for s in report.stages] == ["initialize_database", "toy"]
    assert toys.made() == {"u1": 1}
    toys.plan()
    assert toys.done() == {"toy": 2, "toy_sum": 1}


def test_full_disk_stops_the_run_with_a_message(toys):
    toys.plan(u1="full")
    report = toys.run()
    assert report.exit_code == 1
    assert report.message.startswith("No space left on device (/data/frames/a.fits): free disk space for the workdir")
    assert report.bugs == []
    toys.plan()
    assert toys.done() == {"toy": 1, "toy_sum": 1}


def test_database_that_fails_stops_the_run_with_a_message(toys):
    heard = []

    def fail(event):
        heard.append(event)
        if event.kind == "unit_done" and event.unit == "unit 1":
            raise sa.exc.OperationalError("insert", {}, Exception("database or disk is full"))

    report = toys.run(listeners=[fail])
    assert report.exit_code == 1
    assert "database or disk is full" in report.message
    assert (heard[-1].kind, heard[-1].message) == ("run_finished", report.message)
    assert [e.kind for e in heard].count("run_finished") == 1
    assert toys.done() == {"toy": 1, "toy_sum": 1}


def test_rows_that_the_database_refuses_are_a_bug_of_that_unit(toys):
    toys.plan(u1="refused")
    report = toys.run()
    assert report.exit_code == 1
    assert "the database refused its rows" in report.bugs[0].reason
    assert toys.status()["toy"].made == 2
    toys.plan()
    assert toys.done() == {"toy": 1, "toy_sum": 1}


def test_interruption_keeps_what_was_done(toys, stop_after):
    report = toys.run(listeners=stop_after("unit 1"))
    assert report.interrupted
    assert report.exit_code == 1
    assert toys.made() == {"u0": 1, "u1": 1}
    assert toys.done() == {"toy": 1, "toy_sum": 1}
    assert toys.made() == {"u0": 1, "u1": 1, "u2": 1}


def test_error_of_a_listener_is_not_swallowed(toys):
    def fail(event):
        raise RuntimeError("listener")

    with pytest.raises(RuntimeError, match="listener"):
        toys.run(listeners=[fail])
    assert toys.run().exit_code == 0


def test_reasons_of_before_are_not_listed(toys):
    """Neither of a unit that is none any more, nor of one that other settings put out of date."""
    toys.plan(u1="unusable", u2="unusable")
    assert len(toys.run().unusable) == 2
    toys.write("size = 2")
    assert [u.unit for u in toys.run().unusable] == ["u1"]
    assert toys.status()["toy"].unusable == 1
    toys.write("size = 2\nfactor = 2.0")
    assert toys.status()["toy"].unusable == 0
    toys.plan()
    assert toys.run().unusable == []
