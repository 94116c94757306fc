"""What is planned where something changed, and that nothing is where nothing did; readers change and lock nothing."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from lcframework.project import Project
from lcframework.running.listing import Listing
from lcframework.running.memory import PlanMemory
from lcframework.stages import CHAIN
from lcframework.stars import choice
from lcframework.storage import queries
from lcframework.storage.lock import hold
from lcframework.storage.tables import Frame, PsfRow, StarFlux, StarInFrame, StarResidual
from lcframework.work import Ledger

#: A campaign of ``conftest.py``.
Campaign = Any
TABLE = re.compile(r'\b(?:FROM|JOIN)\s+"?(\w+)"?')


@pytest.fixture(scope="module")
def known(finished: Campaign, campaign_in: Any, tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Return a finished campaign whose plans are remembered; not to be changed."""
    campaign = campaign_in(tmp_path_factory.mktemp("known") / "campaign")
    shutil.copytree(finished.folder, campaign.folder)
    assert campaign.done() == {}
    return campaign


@pytest.fixture
def changing(known: Campaign) -> Iterator[Campaign]:
    """Return the campaign of `known`, which is put back afterwards: a plan is remembered for its own folder."""
    kept = known.folder.with_name("kept")
    shutil.copytree(known.folder, kept)
    yield known
    shutil.rmtree(known.folder)
    kept.rename(known.folder)


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every stage be planned anew."""
    monkeypatch.setattr(PlanMemory, "recall", lambda *_, **__: None)


def units_are_listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of the stages whose units are listed from now on."""
    listed: list[str] = []
    for cls in CHAIN:

        def units(self: Any, session: Session, ledger: Ledger, original: Any = cls.units) -> Any:
            listed.append(self.name)
            return original(self, session, ledger)

        monkeypatch.setattr(cls, "units", units)
    return listed


def test_what_did_not_change_is_not_planned(known: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlanMemory, "recall", lambda *_, **__: None)
        anew = known.status()
    listed = units_are_listed(monkeypatch)
    assert known.status() == anew
    report = known.run_json()
    assert not [s for s in report["stages"] if s["done"]]
    assert listed == []
    made = {s["name"]: s["made"] + s["unusable"] for s in anew["stages"]}
    assert {s["name"]: s["up_to_date"] for s in report["stages"]} == made


def execute(campaign: Campaign, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(campaign.folder / "database.sqlite3")) as connection, connection:
        connection.execute(statement)


def new_frame(campaign: Campaign) -> None:
    shutil.copy2(campaign.spare[0], campaign.folder / "raw")


def lost_file(campaign: Campaign) -> None:
    next((campaign.folder / "regions").glob("*/psf_*.h5")).unlink()


def longer_catalogue(campaign: Campaign) -> None:
    path = campaign.folder / "stars.ecsv"
    path.write_text(path.read_text() + "\n")


CHANGES = {
    "an option of a plugin": (lambda c: c.append("[psf.starred]\niterations_pixels = 40"), "psf_modeling"),
    "an option of a section": (lambda c: c.append("[normalization]\nflux_chi2 = { between = [0.0, 1.1] }"),
                               "calculate_normalization_coefficient"),
    "a file that an option names": (longer_catalogue, "query_gaia_for_stars"),
    "a new frame": (new_frame, "read_convert_skysub_character_catalog"),
    "a raw file that is gone": (lambda c: c.raw[0].unlink(), "psf_modeling"),
    "an excluded frame": (lambda c: c.lcf("exclude", c.project, c.raw[0].name, "--why", "clouds"), "psf_modeling"),
    "a lost file": (lost_file, "psf_modeling"),
    "rows that someone changed": (lambda c: execute(c, "update stars_in_frames set usable = 0 where gaia_id in (select "
                                                       "gaia_id from stars order by distance_to_roi_arcsec limit 1)"),
                                  "psf_modeling"),
    "a product that someone deleted": (lambda c: execute(c, "delete from products where unit like 'frame:2:%' and "
                                                            "stage = 'star_photometry'"), "star_photometry"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_after_a_change_the_plan_is_that_of_planning_anew(changing: Campaign, name: str) -> None:
    change, stage = CHANGES[name]
    change(changing)
    status = changing.status()
    plan = Project.open(changing.project).plan(force=["psf_modeling"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlanMemory, "recall", lambda *_, **__: None)
        assert status == changing.status()
        assert plan == Project.open(changing.project).plan(force=["psf_modeling"])
    if name != "a raw file that is gone":
        assert stage in {s["name"] for s in status["stages"] if s["pending"] or s["waiting"]}


def changed_raw(campaign: Campaign) -> None:
    path = campaign.raw[1]
    path.write_bytes(path.read_bytes() + bytes(2880))


def next_band(campaign: Campaign) -> None:
    execute(campaign, "update frames set band = band || 'x' where id = 3")


def another_decision(campaign: Campaign) -> None:
    execute(campaign, "update settings set value = '33' where setting = 'stamps.star_size'")


#: What else may happen between two plans.
MORE = [
    changed_raw, next_band, another_decision,
    lambda c: execute(c, "update frames set eliminated = 1, comment = 'x' where id = 2"),
    lambda c: execute(c, "update products set state = 'unusable', reason = 'x' where unit = 'frame:4' and stage = "
                         "'plate_solving'"),
    lambda c: execute(c, "delete from products where unit like 'frame:3%' and stage = 'stamp_extraction'"),
    lambda c: execute(c, "update products set token = 'x' where unit like 'frame:1:%' and stage = 'psf_modeling'"),
    lambda c: execute(c, "update stars_in_frames set signal_to_noise = 1 where gaia_id in (select gaia_id from stars "
                         "limit 3) and frame_id = 2"),
    lambda c: execute(c, "update stars set active = 0 where gaia_id = (select max(gaia_id) from stars)"),
    lambda c: execute(c, "update star_flux_in_frame set x = x + 1 where frame_id = 1"),
    lambda c: execute(c, "delete from star_flux_in_frame where frame_id = 1"),
]  # fmt: skip


def units_of(campaign: Campaign) -> dict[str, list[tuple[str, str, bool]]]:
    """Return each stage's units, their fingerprints and whether they are pending, by what is read in one session."""
    project = Project.open(campaign.project)
    found = {}
    with project.session() as session:
        for stage in project.stages:
            ledger = Ledger.of(session).seen_by(stage.name, stage.needs)
            units = stage.units(session, ledger)
            pending = {u.key for u in stage.pending(units, ledger)}
            found[stage.name] = [(str(u.key), u.fingerprint, u.key in pending) for u in units]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_after_any_changes_the_plan_is_that_of_planning_anew(changing: Campaign, seed: int) -> None:
    changes = [*MORE, *(change for name, (change, _) in CHANGES.items() if "option" not in name)]
    for change in np.random.default_rng(seed).permutation(np.array(changes, object))[:6]:
        change(changing)
        status, units = changing.status(), units_of(changing)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PlanMemory, "recall", lambda *_, **__: None)
            for module in (queries, choice):
                patch.setattr(module, "read_once", lambda session, read: read(session))
            assert status == changing.status()
            assert units == units_of(changing)


def test_a_run_after_a_change_remembers_again(changing: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    new_frame(changing)
    execute(changing, "update settings set frozen = 1, frames = wanted, tested_to = 9")
    with pytest.MonkeyPatch.context() as patch:
        listed = units_are_listed(patch)
        assert changing.done()["psf_modeling"] == 1
    # What a stage's own work can't change is listed once, and remembered; none is listed again at the end, unless a
    # later stage changed something.
    assert listed.count("psf_modeling") == listed.count("prepare_calibrated_cutouts") == 1
    assert listed.count("star_photometry") == 3  # of frames, then of those together
    listed = units_are_listed(monkeypatch)
    assert changing.done() == {}
    assert listed == []
    changing.append("[psf.starred]\niterations_pixels = 40")
    (why,) = changing.pending()["psf_modeling"]
    assert "iterations_pixels" in why


def plain(value: Any) -> Any:
    """Return a payload as what NumPy's testing compares."""
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    return (
        {a.name: plain(getattr(value, a.name)) for a in attrs.fields(type(value))} if attrs.has(type(value)) else value
    )


def test_units_that_are_not_listed_again_are_those_that_would_be(changing: Campaign) -> None:
    asked: list[str] = []

    def units(
        self: Listing, session: Session, stage: Any, ledger: Ledger, basis: Any, kept: Any = Listing.units
    ) -> Any:
        found = kept(self, session, stage, ledger, basis)
        anew = stage.units(session, Ledger.of(session).seen_by(stage.name, stage.needs))
        assert [(u.key, u.fingerprint) for u in found] == [(u.key, u.fingerprint) for u in anew]
        np.testing.assert_equal([plain(u.payload) for u in found], [plain(u.payload) for u in anew])
        asked.append(stage.name)
        return found

    next((changing.folder / "regions").glob("*/stamps_*.h5")).write_bytes(b"damaged")
    new_frame(changing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Listing, "units", units)
        report = changing.run_json("--force", "stamp_extraction")
    assert report["exit_code"] == 0
    assert set(asked) == {stage.name for stage in CHAIN} - {"initialize_database"}


@contextlib.contextmanager
def statements() -> Iterator[list[str]]:
    """Collect what is asked of databases."""
    found: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        found.append(statement)

    sa.event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(Engine, "before_cursor_execute", note)


def test_stages_name_the_tables_that_they_read(known: Campaign) -> None:
    project = Project.open(known.project)
    with project.session() as session:
        for stage in project.stages:
            with statements() as asked:
                stage.units(session, Ledger.of(session).seen_by(stage.name, stage.needs))
            tables = {name for statement in asked for name in TABLE.findall(statement)}
            assert stage.reads is not None
            # Files are looked at each time.
            assert tables - {"products", "product_files"} <= set(stage.reads), stage.name


@pytest.mark.usefixtures("forgetful")
def test_rows_of_frames_and_stars_are_not_read_as_objects(known: Campaign) -> None:
    loaded: list[str] = []
    tables = (Frame, StarInFrame, StarFlux, StarResidual, PsfRow)

    def note(target: Any, _: Any) -> None:
        loaded.append(type(target).__name__)

    for table in tables:
        sa.event.listen(table, "load", note)
    try:
        project = Project.open(known.project)
        assert project.status().frames
        project.plan()
        project.run()
    finally:
        for table in tables:
            sa.event.remove(table, "load", note)
    assert loaded == []


@pytest.mark.slow
def test_as_many_questions_are_asked_of_more_frames(changing: Campaign) -> None:
    with statements() as few:
        changing.status()
    for path in changing.spare:
        shutil.copy2(path, changing.folder / "raw")
    changing.run()
    with statements() as many:
        changing.status()
    assert len(many) == len(few)
    with pytest.MonkeyPatch.context() as patch, statements() as anew:
        patch.setattr(PlanMemory, "recall", lambda *_, **__: None)
        changing.status()
    assert len(anew) < len(few) + 100


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return time and contents of each file but of SQLite's shared memory, which no reader can do without."""
    paths = [p for p in folder.rglob("*") if p.is_file() and not p.name.endswith("-shm")]
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in paths}


def test_readers_change_nothing_and_wait_for_nobody(changing: Campaign, tmp_path: Path) -> None:
    new_frame(changing)
    project = changing.project
    with hold(changing.folder), contextlib.closing(sqlite3.connect(changing.folder / "database.sqlite3")) as writer:
        writer.execute("begin immediate")
        writer.execute("update frames set band = 'none yet'")  # as a run beside it
        before = files(changing.folder)
        for command in (["status", "--why"], ["status", "--json"], ["settings"], ["run", "--dry-run"]):
            ended = changing.lcf(command[0], project, *command[1:])
            assert ended.code == 0, ended.err
        ended = changing.lcf("export", project, "--format", "csv", "--output", tmp_path / "curve.csv")
        assert files(changing.folder) == before
        opened = Project.open(project)
        assert "none yet" not in set(opened.frames()["band"])
        assert opened.doubts() is not None
        writer.rollback()


@pytest.fixture
def unwritable(changing: Campaign) -> Iterator[Campaign]:
    folders = [changing.folder, *(p for p in changing.folder.rglob("*") if p.is_dir())]
    for path in changing.folder.glob("database.sqlite3-*"):
        path.unlink()
    for path in folders:
        path.chmod(0o555)
    yield changing
    for path in folders:
        path.chmod(0o755)


def test_readers_work_where_nothing_may_be_written(unwritable: Campaign) -> None:
    if os.access(unwritable.folder, os.W_OK):
        pytest.skip("permissions do not bind this user")
    assert {s["name"]: len(s["pending"]) for s in unwritable.status()["stages"] if s["pending"]} == {}
    assert unwritable.lcf("settings", unwritable.project).code == 0
