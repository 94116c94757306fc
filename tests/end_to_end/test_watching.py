"""A watch over frames that arrive slowly, one of them broken at first, stopped in the middle, beside another run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli

from lcframework.project import Project
from lcframework.watching.batches import After, Batch
from lcframework.watching.watcher import Plan, Waiting, Watcher


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {as_toml(one)}" for name, one in value.items()) + " }"
    return json.dumps(value)  # of texts, numbers, truth values and lists of them, with all digits


def settle(campaign: Any, finished: Any) -> None:
    """Give a project the settings that frames have decided in another, as if its file stated them."""
    file = tomli.loads(campaign.project.read_text())
    for setting, value in finished.query("select setting, value from settings"):
        *tables, option = setting.split(".")
        table = file
        for name in tables:
            table = table.setdefault(name, {})
        if value not in (None, "null"):
            table[option] = json.loads(str(value))  # SQLite makes numbers of texts that are some
    campaign.project.write_text("".join(f"{name} = {as_toml(table)}\n" for name, table in file.items()))


def written_slowly(path: Path, content: bytes, chunks: int = 8) -> None:
    """Write a file in chunks; between two of them it rests for less than the watch asks for."""
    step = -(-len(content) // chunks)
    with path.open("wb") as stream:
        for start in range(0, len(content), step):
            stream.write(content[start : start + step])
            stream.flush()
            time.sleep(0.1)


def stopped_in_the_middle(campaign: Any) -> dict[str, Any]:
    """Watch in another process, end it by SIGTERM while it fits PSFs, and return its last line."""
    command = [sys.executable, "-c", "from lcframework.cli.main import main; main()", "watch", str(campaign.project)]
    options = ["--json", "--first", "2", "--interval", "0.2", "--settle", "0.3", "--no-report"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    log, end = campaign.folder / "lcf.log", time.monotonic() + 240
    while not (log.exists() and "[psf]" in log.read_text()):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    last: dict[str, Any] = json.loads(said.splitlines()[-1])
    return last


def watched(campaign: Any, beside: Callable[[list[Any]], None], done: Any, patience: float = 600.0) -> list[Any]:
    """Watch until a batch is as `done` asks, while a thread does what is to be done beside it; return what was told."""
    told: list[Any] = []
    thread = threading.Thread(target=beside, args=(told,))
    thread.start()
    end = time.monotonic() + 240
    Watcher(
        campaign.project, Plan(0.1, 0.3, patience), After(report=False), told.append, time.sleep,
        lambda: any(isinstance(n, Batch) and done(n) for n in told) or time.monotonic() > end,
    ).watch()  # fmt: skip
    thread.join()
    return told


def locked_out(told: list[Any]) -> bool:
    return any(isinstance(n, Waiting) and "another run holds" in n.why for n in told)


@pytest.mark.slow
def test_frames_that_arrive_slowly(fresh: Any, finished: Any) -> None:
    settle(fresh, finished)
    contents = {path: path.read_bytes() for path in fresh.raw}
    *_, slow, broken = contents
    for path in (slow, broken):
        path.unlink()
    last = stopped_in_the_middle(fresh)
    assert (last["event"], last["why"], last["unfinished"]) == ("stopped", "signal", True)
    assert fresh.query("select outcome from runs") == [("interrupted",)]
    assert fresh.query("select count(*) from frames where image_relpath is not null") == [(2,)]

    # Another run holds the workdir at first; a frame comes in pieces, and one is broken.
    broken.write_bytes(contents[broken][:100_000])
    locked = Project.open(fresh.project).hold()
    locked.__enter__()

    def arrive(told: list[Any]) -> None:
        end = time.monotonic() + 120
        while not locked_out(told) and time.monotonic() < end:
            time.sleep(0.02)
        locked.__exit__(None, None, None)
        written_slowly(slow, contents[slow])

    told = watched(fresh, arrive, lambda batch: slow.name in batch.new)
    assert locked_out(told)
    batches = [n for n in told if isinstance(n, Batch)]
    assert batches[0].new == ()  # what was interrupted
    assert batches[-1].frames == {"used": 3}
    assert [(one.frame, one.epochs) for one in batches[-1].latest] == [(slow.stem, 3)]
    assert not any(b.left_out or b.trouble for b in batches)

    # The broken one is recorded as such, and taken when its whole version has come.
    told = watched(fresh, lambda told: None, lambda batch: broken.name in batch.new, patience=0.5)
    ((name, state, why),) = [n for n in told if isinstance(n, Batch)][-1].left_out
    assert (name, str(state)) == (broken.name, "eliminated")
    assert "truncated" in why
    told = watched(fresh, lambda told: written_slowly(broken, contents[broken]), lambda batch: broken.name in batch.new)
    last_batch = [n for n in told if isinstance(n, Batch)][-1]
    assert last_batch.frames == {"used": 4}

    # The result is that of one run over all frames by the same settings; only the scale, which two frames have set, is
    # another by one factor, which the zero point takes up.
    mine, theirs = fresh.curve(), finished.curve()
    for source in ("A", "B"):
        factor = mine[f"{source}_flux"] / theirs[f"{source}_flux"]
        relative = np.asarray(theirs[f"{source}_d_flux"] / theirs[f"{source}_flux"])
        assert (np.abs(factor / np.mean(factor) - 1) < 0.02 * relative).all()
        apart = np.abs(mine[f"{source}_mag"] - theirs[f"{source}_mag"])
        assert (apart < 1e-3).all()
        magnitude = last_batch.latest[0].sources[source][0]
        assert magnitude == mine[f"{source}_mag"][np.argmax(mine["mjd"])]
    assert fresh.pending() == {}


def test_exports_follow_and_wrong_options_are_refused(campaign: Any, tmp_path: Path) -> None:
    options = ("--idle", "0.5", "--interval", "0.1", "--settle", "0.1", "--no-report")
    exports = ("--export", "aavso", "-o", "aavso.observer=ABC", "--export", "votable", "--output", tmp_path)
    ended = campaign.lcf("watch", campaign.project, *options, *exports)
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[-1].startswith("Stopped, no more frames came: ")
    assert "#OBSCODE=ABC" in (tmp_path / "QUAD.aavso.txt").read_text()
    assert (tmp_path / "QUAD.vot").exists()
    for wrong, why in (
        (("--export", "aavsso"), '"aavso"'), (("-o", "aavso.observer=A"), "--export names"),
        (("--export", "aavso", "-o", "aavso.observer"), "KEY=VALUE"),
        (("--settle", "soon"), "10min"), (("--until", "dawn"), "06:30"),
    ):  # fmt: skip
        refused = campaign.lcf("watch", campaign.project, *wrong)
        assert refused.code == 2
        assert why in refused.err
