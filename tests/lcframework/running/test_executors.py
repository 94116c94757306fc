"""Who works: processes with one thread each, or Dask; what comes back from them, and what if one dies."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest


def test_workers_are_processes_with_one_thread(toys):
    toys.write("size = 8", "workers = 2")
    assert toys.done()["toy"] == 8
    used = toys.workers()
    assert str(os.getpid()) not in used
    assert 1 <= len(used) <= 2
    assert {line.split()[2] for lines in toys.lines().values() for line in lines} == {"1"}


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


#: A driver of two runs, of which the first is interrupted and the workers' server killed; it says which are its own.
DRIVER = """
import os, signal, sys, time
from multiprocessing import active_children, forkserver
from lcframework.project import Project

def stop(event):
    if event.kind == "unit_done" and event.stage == "toy":
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
        raise KeyboardInterrupt

def tell(event):
    if event.kind == "unit_done" and event.stage == "toy":
        print(forkserver._forkserver._forkserver_pid, *[p.pid for p in active_children()], flush=True)
        time.sleep(60)

assert Project.open(sys.argv[1]).run(stop="toy", listeners=[stop]).interrupted
Project.open(sys.argv[1]).run(stop="toy", listeners=[tell])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers have no server")
def test_workers_and_their_server_end_with_a_driver_that_is_killed(toys):
    toys.write("size = 12", "workers = 2")
    with subprocess.Popen([sys.executable, "-c", DRIVER, toys.path], stdout=subprocess.PIPE, text=True) as driver:
        theirs = [Path(f"/proc/{pid}/cmdline") for pid in driver.stdout.readline().split()]
        assert len(theirs) == 3
        assert all(path.read_bytes() for path in theirs)
        driver.kill()
    deadline = time.monotonic() + 10
    while any(path.exists() and path.read_bytes() for path in theirs):  # a zombie has an empty one
        assert time.monotonic() < deadline, theirs
        time.sleep(0.05)


def test_workers_without_a_server(toys, monkeypatch):
    """No socket can be made where the name of the temporary folder is long."""
    toys.write("size = 4", "workers = 2")
    folder = toys.folder / ("long" * 30)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    code = "import sys; from lcframework.project import Project; print(Project.open(sys.argv[1]).run(stop='toy'))"
    done = subprocess.run([sys.executable, "-c", code, toys.path], capture_output=True, text=True, timeout=120)
    assert "StageReport(name='toy', done=4" in done.stdout, done.stderr
    assert "Error" not in done.stderr


def test_interruption_among_workers(toys):
    toys.write("size = 12", "workers = 2")

    def interrupt(event):
        if event.kind == "unit_done" and event.stage == "toy" and event.done >= 3:
            raise KeyboardInterrupt

    assert toys.run(listeners=[interrupt]).interrupted
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
