"""What the machine or a server lacks is told in words, without a traceback, and nothing finished is lost."""

from __future__ import annotations

import sqlite3

import pytest
import sqlalchemy as sa

from lcframework.project import Project
from lcframework.types import LcfError


def test_no_semaphores(toys, monkeypatch):
    def none(*arguments, **named):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("lcframework.executors.processes.ProcessPoolExecutor", none)
    toys.write("size = 4", "workers = 2")
    report = toys.run()
    assert report.exit_code == 1
    assert "starts no worker processes" in report.message
    assert "[run] workers = 1 does without" in report.message


def test_dask_scheduler_that_is_not_there(toys, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("lcframework.executors.clusters._ANSWER", 1)
    toys.write("size = 2", 'executor = "dask"')
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)
        report = toys.run()
        assert report.exit_code == 1
        assert f"no Dask scheduler answers at {address}" in report.message


def test_dask_on_a_machine_that_is_too_busy_to_start_it(toys, monkeypatch):
    pytest.importorskip("distributed")

    def too_slow(workers):
        raise AssertionError

    monkeypatch.setattr("lcframework.executors.clusters.local_cluster", too_slow)
    toys.write("size = 2", 'executor = "dask"')
    report = toys.run()
    assert report.exit_code == 1
    assert "Dask did not start within ten seconds" in report.message


def test_database_that_goes_away_during_the_remarks(toys, monkeypatch):
    def gone(engine, toolbox):
        raise sa.exc.OperationalError("select", {}, Exception("server closed the connection\nunexpectedly"))

    monkeypatch.setattr("lcframework.project.project.record_project_doubts", gone)
    report = toys.run()
    assert report.units_done == 5
    assert report.exit_code == 1
    assert "failed: server closed the connection unexpectedly. What was recorded is kept" in report.message


def test_database_that_goes_away_at_the_end(toys, monkeypatch):
    def gone(*arguments):
        raise sa.exc.OperationalError("select", {}, Exception("terminating connection"))

    monkeypatch.setattr("lcframework.running.runner.conclude", gone)
    assert "terminating connection" in toys.run().message


def test_database_file_that_is_damaged_inside(toys, lcf):
    toys.run()
    path = toys.folder / "database.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
        page = connection.execute("select rootpage from sqlite_master where name = 'products'").fetchone()[0]
        size = connection.execute("pragma page_size").fetchone()[0]
    connection.close()
    data = bytearray(path.read_bytes())
    data[(page - 1) * size : page * size] = b"\xa5" * size
    path.write_bytes(data)
    for command in ("run", "status"):
        ended = lcf(command, toys.path)
        assert ended.code == 1
        assert "malformed" in ended.err
        assert "Traceback" not in ended.err
    with pytest.raises(LcfError, match="malformed"):
        Project.open(toys.path).status()


def test_export_to_a_folder_that_can_not_be_written(toys, lcf, monkeypatch):
    (toys.folder / "file").write_text("in the way")
    monkeypatch.setattr("lcframework.project.Project.light_curve_tables", lambda self, **only: {"X": None})
    ended = lcf("export", toys.path, "--output", toys.folder / "file" / "out")
    assert ended.code == 1
    assert f"Error: Not a directory: {toys.folder / 'file' / 'out'}" in ended.err
    assert "Traceback" not in ended.err


def test_solver_without_a_temporary_folder(monkeypatch):
    import tempfile

    from plugins_builtin.solvers import astrometry_net

    def none(*arguments, **named):
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", none)
    with pytest.raises(LcfError, match="set TMPDIR"):
        astrometry_net._workspace()
