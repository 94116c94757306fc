"""Runs that are interrupted or killed lose at most the work in flight, and the next one goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import h5py
import pytest

from lcframework.project import Project
from lcframework.stages import CHAIN

STAGES = [stage.name for stage in CHAIN]


def start(campaign, *arguments):
    """Start ``lcf run`` as a process group of its own, its words in ``said.txt``.

    Ctrl-C gets its meaning back: what a shell starts in the background ignores it, and so would the run.
    """
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code += "; from lcframework.cli.main import main; main()"
    command = [sys.executable, "-c", code, "run", campaign.project]
    with (campaign.folder / "said.txt").open("w") as said:
        return subprocess.Popen([*command, *arguments], stdout=said, stderr=said, start_new_session=True)


def wait_for(campaign, process, text):
    """Wait until a run has said something."""
    said = campaign.folder / "said.txt"
    end = time.monotonic() + 120
    while text not in said.read_text():
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"{text!r} never came: {said.read_text()}")
        time.sleep(0.02)


def no_half_written_file(campaign):
    """Every file under a product's own name can be read."""
    for path in campaign.folder.glob("regions/*/*.h5"):
        with h5py.File(path) as file:
            assert list(file)
    assert campaign.query("pragma integrity_check") == [("ok",)]


def test_interrupted_in_every_stage(fresh, finished):
    """A run that is interrupted at each stage's first unit, one after the other, ends where one in peace does."""
    project = Project.open(fresh.project)
    for stage in STAGES:

        def interrupt(event, stage=stage):
            if event.kind == "unit_done" and event.stage == stage:
                raise KeyboardInterrupt

        report = project.run(listeners=[interrupt])
        assert report.interrupted
        assert report.exit_code == 1
        assert report.stages[-1].name == stage
    report = project.run()
    assert report.exit_code == 0
    # Each stage kept the unit that was finished before the interruption.
    assert {s.name: s.done for s in report.stages if s.done} == {"model_calibrated_cutouts": 1}
    fresh.assert_same_curve(finished)
    outcomes = [o for (o,) in fresh.query("select outcome from runs order by id")]
    assert outcomes == ["interrupted"] * len(STAGES) + ["success"]


def test_ctrl_c_and_kills_of_a_whole_process_group(fresh, finished):
    """Kill -9 in the import, Ctrl-C among two workers, kill -9 in a fit; then the same light curve."""
    fresh.edit("workers = 1", "workers = 2")
    fresh.edit("[plate_solving]", "[plate_solving]\nverify = false")  # no query before the frames
    process = start(fresh)
    wait_for(fresh, process, "Import: 4 to do")
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    no_half_written_file(fresh)
    process = start(fresh)
    wait_for(fresh, process, "Plate solving: 4 to do")
    os.killpg(process.pid, signal.SIGINT)
    said = (process.wait(timeout=60), (fresh.folder / "said.txt").read_text())
    assert said[0] == 1, said
    assert "Interrupted. What was finished is kept" in said[1]
    no_half_written_file(fresh)
    process = start(fresh)
    wait_for(fresh, process, "PSF models: 4 to do")
    # While it runs: the count that the documentation promises, and a second run that is refused.
    assert fresh.query("select count(*) from frames") == [(4,)]
    second = fresh.run()
    assert second.code == 1
    assert "another run holds" in second.err
    assert f"process {process.pid}" in second.err
    assert fresh.lcf("status", fresh.project).code == 0
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    no_half_written_file(fresh)
    (fresh.folder / "regions" / f".half.h5.{process.pid}.tmp").write_bytes(b"half")
    fresh.edit("workers = 2", "workers = 1")
    report = fresh.run_json()
    assert report["exit_code"] == 0
    assert next(s for s in report["stages"] if s["name"] == "stamp_extraction")["done"] == 0
    assert not list(fresh.folder.rglob("*.tmp"))
    fresh.assert_same_curve(finished)
    assert "killed" in {o for (o,) in fresh.query("select outcome from runs")}


def test_lock_of_a_dead_run_holds_nobody(campaign):
    (campaign.folder / ".lock").write_text("process 1, since yesterday")
    assert campaign.run().code == 0


def test_json_of_an_interrupted_run(fresh):
    project = Project.open(fresh.project)

    def interrupt(event):
        if event.kind == "stage_started":
            raise KeyboardInterrupt

    assert project.run(listeners=[interrupt]).units_done == 0
    assert json.loads(fresh.run("--json", "--stop", "initialize_database").out)["stages"][0]["done"] == 1
    with contextlib.closing(sqlite3.connect(fresh.folder / "database.sqlite3")) as connection, connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)


@pytest.mark.slow
def test_forced_run_that_is_killed_is_finished_by_the_next(campaign):
    """Whenever the kill comes: every stamp is cut again, and all that rests on any of them is made again."""
    query = "select unit, token from products where stage in ('stamp_extraction', 'psf_modeling', 'star_photometry')"
    before = dict(campaign.query(query.replace("unit,", "stage || unit,")))
    assert len(before) == 13  # with the choice of how fluxes are combined
    process = start(campaign, "--force", "stamp_extraction")
    wait_for(campaign, process, "Stamps: 4 to do")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    no_half_written_file(campaign)
    left = campaign.query("select count(*) from products where state = 'forced'")[0][0]
    why = campaign.pending()
    assert not left or why["stamp_extraction"] == ["to be made again: --force"]
    done = campaign.done()
    assert done.get("stamp_extraction", 0) == left
    after = dict(campaign.query(query.replace("unit,", "stage || unit,")))
    assert all(after[unit] != token for unit, token in before.items())
    assert campaign.pending() == {}
    assert campaign.query("select count(*) from products where state = 'forced'") == [(0,)]


def test_lost_products_are_named_and_made_again(campaign):
    """Products that were deleted or garbled by hand: the run says so, and makes them again."""
    frame = campaign.raw[0].stem
    (campaign.folder / "regions.h5").unlink()
    assert campaign.run().code == 0
    assert (campaign.folder / "regions.h5").exists()
    (campaign.folder / "frames" / f"{frame}.fits").write_bytes(b"damaged")
    ended = campaign.run("--force", "stamp_extraction", "--stop", "stamp_extraction")
    assert ended.code == 0
    assert f"its file is damaged: frames/{frame}.fits: it has 7 bytes" in ended.err
    assert campaign.run().code == 0
    assert campaign.frames()[f"{frame}.fits"] == ("used", "")
    assert len(campaign.curve()) == 4
