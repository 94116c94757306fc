"""What it costs to plan and to ask how a project stands, by the number of frames.

    python benchmarks/planning.py --frames 12 173 1000 10000

A small campaign is simulated and run once. Its database is then copied for each number of frames, with the rows of
every frame and star repeated and the products' fingerprints made consistent, so that nothing is to be done; raw files
and products are a few bytes each, because planning asks only whether they are there. Measured are the commands
themselves, each in a new process: CPU of the process and of those that it started, wall clock, and peak memory
(the kernel's maximum resident set). "new frame" is with one more raw file, which is removed again; "nothing remembered"
is `lcf status` where every stage has to be planned, as after a change of the options. What is made stays in `--folder`,
which a second call goes on with. Ten thousand frames take ten minutes to make, and 3 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from campaigns import LCF, environment
from sqlmodel import Session, SQLModel

from lcframework.project import Project
from lcframework.provenance import counted, digest
from lcframework.storage.tables import Product
from lcframework.testing.campaign import simulate_campaign
from lcframework.work import Ledger, Stage

DATABASE = "database.sqlite3"
COMMANDS = {
    "status": ["status"],
    "status --why": ["status", "--why"],
    "run, nothing to do": ["run"],
    "run --dry-run, a new frame": ["run", "--dry-run"],
    "status, a new frame": ["status"],
    "status, nothing remembered": ["status"],
}
#: Tables with a row for each frame and star, and those with a row for each star.
OF_STARS = ("stars", "stars_in_frames", "star_flux_in_frame", "star_residuals", "star_levels")


def small_project(folder: Path, frames: int) -> Path:
    """Return the folder of a finished project, which is simulated and run where it is not there."""
    if not (folder / "done").exists():
        simulate_campaign(folder, seed=1, frames=frames, size=512)
        _lcf(["run", str(folder / "project.toml")], folder.parent)
        (folder / "done").touch()
    return folder


def project_of(folder: Path, small: Path, frames: int, stars: int) -> Path:
    """Return a folder with a finished project of so many frames and stars, made from a small one."""
    if (folder / "done").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "raw").mkdir(parents=True)
    for name in ("project.toml", "stars.ecsv"):
        shutil.copy(small / name, folder / name)
    with sqlite3.connect(small / DATABASE) as source, sqlite3.connect(folder / DATABASE) as target:
        source.backup(target)
    target.execute("pragma synchronous = off")
    _repeat_stars(target, stars)
    _repeat_frames(target, folder, frames)
    target.execute("update settings set frozen = 1, frames = wanted, tested_to = ?", [frames])
    target.commit()
    target.close()
    _finish_all(Project.open(folder / "project.toml"))
    (folder / "done").touch()
    return folder


def _repeat_stars(database: sqlite3.Connection, wanted: int) -> None:
    """Give every frame so many stars: copies of those that there are, under other identifiers and letters."""
    database.row_factory = sqlite3.Row
    known = [r["gaia_id"] for r in database.execute("select gaia_id from stars order by distance_to_roi_arcsec")]
    copies = {}
    for i in range(max(0, wanted - len(known))):
        copies.setdefault(known[i % len(known)], []).append(f"copy{i}")
    for table in OF_STARS:
        rows = [dict(r) for r in database.execute(f"select * from {table}")]
        for row in rows:
            for name in copies.get(row["gaia_id"], []):
                changed = {"gaia_id": name} | ({"name": name} if "name" in row else {})
                _insert(database, table, [{**row, **changed}])


def _repeat_frames(database: sqlite3.Connection, folder: Path, wanted: int) -> None:
    """Give the project so many frames: copies of those that there are, each with a raw file and files of its own."""
    tables = [r[0] for r in database.execute("select name from sqlite_master where type = 'table'")]
    columns = {t: [r["name"] for r in database.execute(f'pragma table_info("{t}")')] for t in tables}
    of_frames = {
        t: [dict(r) for r in database.execute(f'select * from "{t}"')]
        for t in tables
        if "frame_id" in columns[t] and t != "doubts"
    }
    of_units = {
        t: [dict(r) for r in database.execute(f"select * from {t} where unit like 'frame:%'")]
        for t in ("products", "product_files")
    }
    frames = {r["id"]: dict(r) for r in database.execute("select * from frames")}
    ids = list(frames)
    for table in of_units:
        database.execute(f"delete from {table} where unit like 'frame:%'")
    for table in ("frames", *of_frames):
        database.execute(f'delete from "{table}"')
    for number in range(1, wanted + 1):
        old = ids[(number - 1) % len(ids)]
        _frame(database, folder, number, frames[old])
        key = frames[old]["key"], f"f{number:06d}"
        for table, rows in of_frames.items():
            own = [r for r in rows if r["frame_id"] == old]
            _insert(database, table, [_renamed({**r, "frame_id": number}, key) for r in own])
        for table, rows in of_units.items():
            for row in (r for r in rows if r["unit"].split(":")[1] == str(old)):
                _, _, *field = row["unit"].split(":")
                _insert(database, table, [_renamed({**row, "unit": ":".join(["frame", str(number), *field])}, key)])
    database.execute("update product_files set size = 1")  # as :func:`_write_files` makes them


def _renamed(row: dict[str, Any], key: tuple[str, str]) -> dict[str, Any]:
    """Return a row with the paths of another frame."""
    return {k: v.replace(*key) if k == "path" else v for k, v in row.items()}


def _frame(database: sqlite3.Connection, folder: Path, number: int, like: dict[str, Any]) -> None:
    """Write a frame's row and its raw file, which has a few bytes."""
    name = f"f{number:06d}"
    path = folder.resolve() / "raw" / f"{name}.fits"
    path.write_text(name)
    stat = path.stat()
    paths = {k: v.replace(like["key"], name) for k, v in like.items() if k.endswith("relpath")}
    own = {
        "id": number, "key": name, "original_image_path": str(path), "mjd": like["mjd"] + 0.001 * number,
        "raw_size": stat.st_size, "raw_mtime_ns": stat.st_mtime_ns,
        "raw_digest": hashlib.sha256(name.encode()).hexdigest()[:40],
    }  # fmt: skip
    _insert(database, "frames", [{**like, **paths, **own}])


def _insert(database: sqlite3.Connection, table: str, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        names = ", ".join(f'"{n}"' for n in rows[0])
        database.executemany(f'insert into "{table}" ({names}) values ({marks})', [list(r.values()) for r in rows])


def _finish_all(project: Project) -> None:
    """Record every unit as made from what it would be made from now, with an empty file where it has none."""
    with Session(project.engine()) as session:
        project._settle(session)
        for table in ("products", "product_files"):
            _write_files(project.workdir, session.connection().exec_driver_sql(f"select path from {table}").scalars())
        for stage in project.stages:
            _finish_stage(stage, session)
            session.commit()
    (project.workdir / "regions.h5").write_text("x")


def _finish_stage(stage: Stage, session: Session) -> None:
    while True:
        ledger = Ledger.read(session).seen_by(stage.name, stage.needs)
        stale = [u for u in stage.units(session, ledger) if not ledger.is_done(stage.name, u)]
        if not stale:
            break
        table, before = SQLModel.metadata.tables["products"], ledger.of_stage(stage.name)
        of_unit = sa.update(table).where(table.c.stage == stage.name, table.c.unit == sa.bindparam("key"))
        rows = []
        for unit in stale:
            was = before[str(unit.key)]
            token = unit.fingerprint if was.token == was.fingerprint else was.token
            rows.append({"key": was.unit, "fingerprint": unit.fingerprint, "token": token,
                         "components": counted(unit.components)})  # fmt: skip
        session.connection().execute(
            of_unit.values({n: sa.bindparam(n) for n in ("fingerprint", "token", "components")}), rows
        )
        session.commit()
    ledger = Ledger.read(session)
    state = digest(sorted([u, p.state, p.token] for u, p in ledger.of_stage(stage.name).items()))
    finish = session.get(Product, ("finish", stage.name))
    assert finish is not None
    finish.fingerprint = finish.token = state
    session.add(finish)


def _write_files(workdir: Path, paths: Iterable[str]) -> None:
    for path in map(workdir.joinpath, filter(None, paths)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def _lcf(arguments: Sequence[str], folder: Path) -> tuple[float, float, float, int]:
    """Run `lcf`; return its seconds of CPU and of the wall, its peak memory in MiB, and its exit code."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(
            [*LCF, *arguments], stdout=output, stderr=subprocess.STDOUT, env=os.environ | environment(folder / "jax")
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode not in (0, 3):
            output.seek(0)
            raise SystemExit(f"lcf {' '.join(arguments)} failed:\n{output.read()[-3000:]}")
    peak = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return used.ru_utime + used.ru_stime, time.perf_counter() - started, peak, child.returncode


def measure(place: Path, folder: Path, commands: Sequence[str]) -> None:
    """Print what each command costs in a project."""
    new = place / "raw" / "zz_new.fits"
    _lcf(["run", str(place / "project.toml")], folder)  # the first run remembers what it planned
    for name in commands:
        if "new frame" in name:
            new.write_text("a new frame")
        if "nothing remembered" in name:
            with contextlib.closing(sqlite3.connect(place / DATABASE)) as database, database:
                database.execute("delete from plans")
        cpu, wall, peak, _ = _lcf([COMMANDS[name][0], str(place / "project.toml"), *COMMANDS[name][1:]], folder)
        new.unlink(missing_ok=True)
        print(f"    {name:28} {cpu:8.2f} {wall:8.2f} {peak:8.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[12, 173, 1000])
    parser.add_argument("--stars", type=int, default=60, help="stars in each frame")
    parser.add_argument("--commands", nargs="+", choices=list(COMMANDS), default=list(COMMANDS), metavar="COMMAND")
    parser.add_argument("--folder", type=Path, help="where the projects are or go; default: a temporary folder")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="planning_"))
    small = small_project(folder / "small", 12)
    print(f"frames x {options.stars} stars                    CPU, s  wall, s      MiB")
    for count in options.frames:
        place = folder / f"frames_{count}"
        # In a process of its own: the kernel counts the memory of the process that starts a command to it.
        maker = multiprocessing.get_context("spawn").Process(
            target=project_of, args=(place, small, count, options.stars)
        )
        maker.start()
        maker.join()
        if maker.exitcode:
            raise SystemExit(f"the project of {count} frames could not be made")
        print(f"{count}", flush=True)
        measure(place, folder, options.commands)


if __name__ == "__main__":
    main()
