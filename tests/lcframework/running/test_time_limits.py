"""A file whose reader hangs is unusable; the worker is replaced, the rest goes on, and what hung is told."""

from __future__ import annotations

import multiprocessing
import signal

import pytest


def test_in_the_driver(toys):
    toys.write("size = 3", "workers = 1\nseconds_per_file = 0.3")
    toys.plan(u1="hang")
    report = toys.run()
    assert report.exit_code == 3
    (unusable,) = report.unusable
    assert unusable.unit == "unit 1"
    assert "it took longer than 0.3 s ([run] seconds_per_file) in lcf_toys.py, line " in unusable.reason
    assert toys.made() == {"u0": 1, "u2": 1}
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("action", [pytest.param("hang", marks=pytest.mark.slow), "hang-for-good"])
def test_in_workers(toys, action):
    toys.write("size = 8", "workers = 2\nseconds_per_file = 1.0")
    toys.plan(u1=action, u5=action)
    report = toys.run()
    assert report.message == ""
    assert sorted(u.unit for u in report.unusable) == ["unit 1", "unit 5"]
    assert all("longer than 1 s ([run] seconds_per_file) in lcf_toys.py, line " in u.reason for u in report.unusable)
    assert set(toys.made()) == {"u0", "u2", "u3", "u4", "u6", "u7"}
    assert not any((toys.folder / ".running").iterdir())
    assert not [p for p in multiprocessing.active_children() if "ForkServer" not in type(p).__name__ and p.is_alive()]


def test_no_limit(toys):
    toys.write("size = 3", "workers = 1\nseconds_per_file = 0")
    assert toys.done()["toy"] == 3


@pytest.mark.slow
def test_on_dask_workers(toys):
    pytest.importorskip("distributed")
    toys.write("size = 4", 'executor = "dask"\nworkers = 2\nseconds_per_file = 1.0')
    toys.plan(u1="hang-for-good")
    report = toys.run()
    assert report.message == ""
    assert [u.unit for u in report.unusable] == ["unit 1"]
    assert set(toys.made()) == {"u0", "u2", "u3"}
