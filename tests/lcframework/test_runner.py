"""The driver with toy stages: how units end, what is recorded, what is done again, and in which processes."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3

import pytest
import sqlalchemy as sa

from lcframework.chain import between
from lcframework.config import ConfigError
from lcframework.project import Project
from lcframework.scopes import UnknownName
from lcframework.types import LcfError, PluginError

TOY = '''
import json
import os
import time
from pathlib import Path
from typing import ClassVar

import attrs

from lcframework.database import Replace
from lcframework.hookspecs import hookimpl
from lcframework.scopes import Scope
from lcframework.stages.base import Outcome, Stage, Unit
from lcframework.types import NeedMissing, UnusableInput


@attrs.define
class Toy(Stage):
    """Squares numbers; a file says which units misbehave."""

    name: ClassVar[str] = "toy"
    title: ClassVar[str] = "Toy"
    after: ClassVar[str] = "initialize_database"
    size: int = 3
    factor: float = 1.0

    def units(self, session, ledger):
        return [
            Unit(f"u{i}", f"unit {i}", self.components(factor=self.factor, inner={"number": i}), i,
                 scope=Scope(frozenset("XY"[i % 2])))
            for i in range(self.size)
        ]

    def plan(self):
        path = self.setup.workdir / "plan.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def load(self, unit):
        action = self.plan().get(unit.key, "")
        if action == "kill" and not (self.setup.workdir / "killed").exists():
            (self.setup.workdir / "killed").touch()
            os._exit(9)
        if action == "always-kill":
            os._exit(9)
        if action == "unusable":
            raise UnusableInput(f"{unit.label} is broken")
        if action == "missing":
            raise NeedMissing("a tool is missing: apt install tool")
        if action == "full":
            raise OSError(28, "No space left on device", "/data/frames/a.fits")
        if action == "bug":
            raise ZeroDivisionError("two lines\\nof text")
        return unit.payload

    def compute(self, values):
        return values**2 * self.factor

    def save(self, unit, result):
        folder = self.setup.workdir / "toys"
        folder.mkdir(exist_ok=True)
        with (folder / unit.key).open("a") as stream:
            stream.write(f"{result:g} {os.getpid()} {os.environ.get('OMP_NUM_THREADS')}\\n")
        records = ()
        if self.plan().get(unit.key) == "refused":
            key = {"combined_footprint_hash": "x", "instrument": "", "band": "", "gaia_id": unit.key}
            records = (Replace("star_levels", key, [{**key, "level": None, "level_error": 0, "intrinsic_scatter": 0}]),)
        return Outcome(records, f"toys/{unit.key}", summary=f"is {result:g}")

    def retry(self, product):
        return self.plan().get("retry", False)

    def finish(self, session, workdir):
        with (workdir / "finished").open("a") as stream:
            stream.write("x")

    def outdated(self, workdir):
        return not (workdir / "finished").exists()


@attrs.define
class Sum(Stage):
    """Adds what the toys made."""

    name: ClassVar[str] = "toy_sum"
    title: ClassVar[str] = "Sum"
    after: ClassVar[str] = "toy"
    light: ClassVar[bool] = True

    def units(self, session, ledger):
        return [Unit("all", "all", self.components(toys=ledger.tokens("toy")), None)]

    def load(self, unit):
        return [float(p.read_text().split()[-3]) for p in sorted((self.setup.workdir / "toys").iterdir())]

    def compute(self, values):
        return sum(values)

    def save(self, unit, result):
        (self.setup.workdir / "sum").write_text(f"{result:g}")
        return Outcome(path="sum")


@hookimpl
def lcf_stages():
    return {"toy": Toy, "toy_sum": Sum}
'''


class Toys:
    """A project whose chain holds the toys."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "raw").mkdir()
        self.path = folder / "project.toml"
        self.write()

    def write(self, toy="", run="workers = 1"):
        self.path.write_text(
            f"[roi.X]\nra = 1.0\ndec = 2.0\n[roi.Y]\nra = 1.0\ndec = 2.1\n[run]\n{run}\n[toy]\n{toy}\n"
        )

    def plan(self, **actions):
        (self.folder / "plan.json").write_text(json.dumps(actions))

    def run(self, stop="toy_sum", force=(), listeners=(), **only):
        return Project.open(self.path).run(stop=stop, force=force, listeners=listeners, **only)

    def done(self, *arguments, **named):
        return {s.name: s.done for s in self.run(*arguments, **named).stages if s.done}

    def made(self):
        folder = self.folder / "toys"
        return {p.name: len(p.read_text().splitlines()) for p in sorted(folder.iterdir())} if folder.exists() else {}

    def status(self):
        return {s.name: s for s in Project.open(self.path).status().stages}


@pytest.fixture
def toys(install, tmp_path):
    install("lcf-toys", TOY, {"toys": "lcf_toys"})
    (tmp_path / "project").mkdir()
    return Toys(tmp_path / "project")


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
    assert [p.why for p in pending] == [("factor: 1.0 -> 2.0",)] * 3
    assert toys.status()["toy_sum"].waiting
    assert toys.done() == {"toy": 3, "toy_sum": 1}
    toys.write("factor = 1.0")
    assert toys.done() == {"toy": 3, "toy_sum": 1}


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
    assert bug.reason == "ZeroDivisionError: two lines"
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
    assert report.message.startswith("No space left on device (/data/frames/a.fits): give the workdir room")
    assert report.bugs == []
    toys.plan()
    assert toys.done() == {"toy": 1, "toy_sum": 1}


def test_database_that_fails_stops_the_run_with_a_message(toys):
    def fail(event):
        if event.kind == "unit_done" and event.unit == "unit 1":
            raise sa.exc.OperationalError("insert", {}, Exception("database or disk is full"))

    report = toys.run(listeners=[fail])
    assert report.exit_code == 1
    assert "database or disk is full" in report.message
    assert toys.done() == {"toy": 1, "toy_sum": 1}


def test_rows_that_the_database_refuses_are_a_bug_of_that_unit(toys):
    toys.plan(u1="refused")
    report = toys.run()
    assert report.exit_code == 1
    assert "the database refused its rows" in report.bugs[0].reason
    assert toys.status()["toy"].made == 2
    toys.plan()
    assert toys.done() == {"toy": 1, "toy_sum": 1}


def test_interruption_keeps_what_was_done(toys):
    def interrupt(event):
        if event.kind == "unit_done" and event.unit == "unit 1":
            raise KeyboardInterrupt

    report = toys.run(listeners=[interrupt])
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


def test_force_makes_again_what_rests_on_it(toys):
    toys.run()
    assert toys.done(force=["toy"]) == {"toy": 3, "toy_sum": 1}
    assert toys.done(force=["toy_sum"]) == {"toy_sum": 1}
    with pytest.raises(LcfError, match=r'"toys" is not a stage; did you mean "toy"'):
        toys.run(force=["toys"])


def tokens(toys):
    with contextlib.closing(sqlite3.connect(toys.folder / "database.sqlite3")) as connection, connection:
        return dict(connection.execute("select unit, token from products where stage = 'toy'").fetchall())


def test_forced_run_that_was_stopped_is_finished_by_the_next(toys):
    toys.run()
    before = tokens(toys)

    def interrupt(event):
        if event.kind == "unit_done" and event.unit == "unit 1":
            raise KeyboardInterrupt

    assert toys.run(force=["toy", "toy_sum"], listeners=[interrupt]).interrupted
    assert [p.why for p in toys.status()["toy"].pending] == [("to be made again: --force",)]
    assert toys.status()["toy"].made == 2
    assert toys.done() == {"toy": 1, "toy_sum": 1}
    assert toys.made() == {"u0": 2, "u1": 2, "u2": 2}
    after = tokens(toys)
    assert all(after[unit] != before[unit] for unit in before)  # what rests on any of them is out of date
    assert toys.done() == {}


def test_forcing_again_after_a_stop_goes_on_with_what_is_left(toys):
    toys.run()

    def interrupt(event):
        if event.kind == "unit_done" and event.unit == "unit 0":
            raise KeyboardInterrupt

    toys.run(force=["toy"], listeners=[interrupt])
    plan = Project.open(toys.path).plan(stop="toy_sum", force=["toy"])
    assert [len(s.pending) for s in plan if s.name == "toy"] == [2]
    assert toys.done(force=["toy"]) == {"toy": 2, "toy_sum": 1}
    assert toys.made() == {"u0": 2, "u1": 2, "u2": 2}
    assert toys.done(force=["toy"]) == {"toy": 3, "toy_sum": 1}


def test_forced_unit_that_fails_stays_forced(toys):
    toys.run()
    before = tokens(toys)
    toys.plan(u1="bug")
    assert toys.run(force=["toy"]).bugs
    toys.plan()
    assert toys.done()["toy"] == 1
    assert tokens(toys)["u1"] != before["u1"]


def test_forcing_again_after_a_failure_makes_all_again(toys):
    """A unit that failed is left from a run that came to its end: there is nothing to go on with."""
    toys.run()
    toys.plan(u1="bug")
    assert toys.run(force=["toy"]).bugs
    toys.plan()
    plan = Project.open(toys.path).plan(stop="toy_sum", force=["toy"])
    assert [len(s.pending) for s in plan if s.name == "toy"] == [3]
    assert toys.done(force=["toy"])["toy"] == 3


def stop_after(label):
    def interrupt(event):
        if event.kind == "unit_done" and event.unit == label:
            raise KeyboardInterrupt

    return [interrupt]


def test_failure_of_a_run_that_went_on_with_another_is_no_stop(toys):
    toys.run()
    toys.run(force=["toy"], listeners=stop_after("unit 0"))
    toys.plan(u2="bug")
    assert toys.run(force=["toy"]).bugs
    assert toys.made() == {"u0": 2, "u1": 2, "u2": 1}
    toys.plan()
    assert toys.done(force=["toy"])["toy"] == 3


@pytest.mark.parametrize(("first", "then", "count"), [({"rois": "X"}, {}, 3), ({}, {"rois": "X"}, 2)])
def test_forcing_another_part_after_a_stop_makes_all_of_it(toys, first, then, count):
    """What a stopped run was not asked for is not done; what it made is made again, as asked now."""
    toys.run()
    assert toys.run(force=["toy"], listeners=stop_after("unit 0"), **first).interrupted
    plan = Project.open(toys.path).plan(stop="toy_sum", force=["toy"], **then)
    assert [len(s.pending) for s in plan if s.name == "toy"] == [count]
    assert toys.done(force=["toy"], **then)["toy"] == count


def test_forced_stage_must_be_one_that_runs(toys):
    toys.run()
    with pytest.raises(LcfError, match="toy_sum is to be forced, but it does not lie between"):
        toys.run(stop="toy", force=["toy_sum"])


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


def test_run_of_a_part_tells_of_its_own_unusable_inputs_alone(toys):
    toys.plan(u1="unusable")
    assert toys.run().exit_code == 3
    report = toys.run(rois="X")
    assert report.unusable == []
    assert report.exit_code == 0
    report = toys.run(rois="Y")
    assert [u.unit for u in report.unusable] == ["u1"]
    assert report.exit_code == 3


def test_names_are_checked_where_the_run_imports_nothing(toys):
    """Files that wait may bring the band; a run that does not import them can't."""
    project = Project.open(toys.path)
    told = r'the project has no band "typo"; .* \(a run that imports the files that wait may bring it\)'
    with pytest.raises(UnknownName, match=told):
        project.run(start="toy", stop="toy_sum", bands="typo")
    with pytest.raises(UnknownName, match=told):
        project.plan(start="psf_modeling", bands="typo")
    with pytest.raises(UnknownName, match=told):
        project.status(bands="typo")
    assert project.plan(bands="typo")  # what is imported first may have it


# ---------------------------------------------------------------- the chain


def test_stages_of_plugins_follow_the_stages_they_name(toys):
    project = Project.open(toys.path)
    assert project.stage_names[:4] == [
        "initialize_database", "toy", "toy_sum", "read_convert_skysub_character_catalog",
    ]  # fmt: skip
    assert len(project.stage_names) == 14
    assert [s.name for s in between(project.stages, "toy", "toy_sum")] == ["toy", "toy_sum"]


def test_options_of_a_plugin_stage_are_checked(toys):
    toys.write('size = "three"\nfactr = 2.0')
    with pytest.raises(ConfigError) as error:
        Project.open(toys.path)
    assert 'did you mean "factor"?' in str(error.value)
    assert "expected a whole number" in str(error.value)


def test_stage_after_one_that_is_not_there(install, tmp_path):
    install("lcf-lost", TOY.replace('"initialize_database"', '"initialise_database"'), {"lost": "lcf_lost"})
    with pytest.raises(PluginError, match='toy comes after "initialise_database", which is no stage; did you mean'):
        Project.open(Toys(tmp_path).path)


# ---------------------------------------------------------------- executors


def pids(toys):
    return {p.name: {line.split()[1] for line in p.read_text().splitlines()} for p in (toys.folder / "toys").iterdir()}


def test_workers_are_processes_with_one_thread(toys):
    toys.write("size = 8", "workers = 2")
    assert toys.done()["toy"] == 8
    used = set.union(*pids(toys).values())
    assert str(os.getpid()) not in used
    assert 1 <= len(used) <= 2
    assert {line.split()[2] for p in (toys.folder / "toys").iterdir() for line in p.read_text().splitlines()} == {"1"}


def test_kinds_of_ending_come_back_from_workers(toys):
    toys.write("size = 6", "workers = 2")
    toys.plan(u1="unusable", u3="bug")
    report = toys.run()
    assert [u.unit for u in report.unusable] == ["unit 1"]
    assert [b.unit for b in report.bugs] == ["unit 3"]
    assert report.units_done == 6


def test_worker_that_is_killed(toys):
    toys.write("size = 6", "workers = 2")
    toys.plan(u2="kill")
    report = toys.run()
    assert report.exit_code == 1
    assert "a worker process was killed during toy" in report.message
    assert "fewer [run] workers" in report.message
    report = toys.run()
    assert report.exit_code == 0
    assert (toys.folder / "sum").read_text() == "55"


def test_interruption_among_workers(toys):
    toys.write("size = 12", "workers = 2")

    def interrupt(event):
        if event.kind == "unit_done" and event.stage == "toy" and event.done >= 3:
            raise KeyboardInterrupt

    assert toys.run(listeners=[interrupt]).interrupted
    import multiprocessing
    import time

    # The pool's own thread reaps its workers too: while it does, a dead one counts as active for a moment.
    deadline = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not multiprocessing.active_children()
    report = toys.run()
    assert report.exit_code == 0
    assert report.stages[1].up_to_date >= 3


def test_unknown_executor(toys):
    toys.write(run='executor = "grid"')
    report = toys.run()
    assert report.exit_code == 1
    assert '[run] executor: no installed plugin offers "grid"' in report.message
    assert "dask, local" in report.message


def test_dask(toys):
    pytest.importorskip("distributed")
    toys.write("size = 6", 'executor = "dask"\nworkers = 2')
    toys.plan(u1="unusable", u3="bug")
    report = toys.run()
    assert [u.unit for u in report.unusable] == ["unit 1"]
    assert [b.unit for b in report.bugs] == ["unit 3"]
    assert str(os.getpid()) not in set.union(*pids(toys).values())
    toys.plan()
    assert toys.done()["toy"] == 1


@pytest.mark.slow
def test_dask_worker_that_is_killed_again_and_again(toys, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("lcframework.executors.dask.PATIENCE", 5.0)
    toys.write("size = 3", 'executor = "dask"\nworkers = 1')
    toys.plan(u1="always-kill")
    report = toys.run()
    assert report.exit_code == 1
    assert "Dask gave up during toy: KilledWorker" in report.message
    toys.plan()
    assert toys.run().exit_code == 0
    assert (toys.folder / "sum").read_text() == "5"
