"""Which raw files there are, their keys, and what becomes of rows when files come, change, move and go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlmodel import Session, select

from lcframework.config.project_file import load
from lcframework.frames import frame_list
from lcframework.frames.exclusions import (
    EXCLUDED_BY_COMMAND,
    EXCLUDED_IN_FILE,
    exclude_frames,
    excluded,
    include_frames,
    takes_part,
    undo_exclusion,
)
from lcframework.frames.found_file import FoundFile
from lcframework.frames.frame_list import FrameList, find_files, idle_exclusions
from lcframework.provenance import ABSENT
from lcframework.storage.connection import open_engine
from lcframework.storage.tables import CombinedFootprint, Frame, Product
from lcframework.types import LcfError, NeedMissing


class Files:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = open_engine("sqlite://", folder)
        self.configure()

    def configure(self, text: str = 'raw_dirs = ["raw"]') -> None:
        (self.folder / "project.toml").write_text(f"[roi.X]\nra = 1.0\ndec = 2.0\n[frames]\n{text}\n")
        self.config = load(self.folder / "project.toml")

    def write(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def update(self) -> dict[str, FoundFile]:
        with Session(self.engine, expire_on_commit=False) as session:
            FrameList(session, self.config).record()
            session.commit()
            recorded = FrameList(session, self.config).frames
            return {os.path.relpath(f.original_image_path, self.folder): f for f in recorded}

    def look(self) -> dict[str, FoundFile]:
        """Return the frames as they are to be, and see that nothing was written."""
        with Session(self.engine, expire_on_commit=False) as session:
            frames = FrameList(session, self.config).frames
            assert not session.new
            assert not session.dirty
            session.commit()
            return {os.path.relpath(f.original_image_path, self.folder): f for f in frames}

    def rows(self) -> int:
        with Session(self.engine) as session:
            return len(session.exec(select(Frame)).all())


@pytest.fixture
def files(tmp_path):
    (tmp_path / "raw").mkdir()
    return Files(tmp_path)


def test_pattern_and_folders(files):
    for name in ("raw/b.fits", "raw/a.fits", "raw/notes.txt", "raw/sub/c.fits", "more/d.fits"):
        files.write(name, name)
    assert [p.name for p in find_files(files.config)] == ["a.fits", "b.fits"]
    files.configure('raw_dirs = ["raw", "more"]\npattern = "**/*.fits"')
    assert [p.name for p in find_files(files.config)] == ["d.fits", "a.fits", "b.fits", "c.fits"]
    files.configure('raw_dirs = ["raw", "./raw"]')
    assert len(find_files(files.config)) == 2
    files.configure('raw_dirs = ["nowhere"]')
    with pytest.raises(LcfError, match='raw_dirs: "nowhere" is not a folder; looked for '):
        find_files(files.config)


def test_folder_from_the_environment(files, monkeypatch, tmp_path):
    monkeypatch.setenv("LCF_TEST_RAW", str(tmp_path / "raw"))
    files.configure('raw_dirs = ["$LCF_TEST_RAW"]')
    files.write("raw/a.fits", "a")
    assert len(find_files(files.config)) == 1


def test_keys_are_distinct(files):
    names = ["raw/a.fits", "more/a.fits", "raw/a.fits.gz", "raw/a_sources.fits", "raw/field_stars.fits", "raw/ä b.fits"]
    for name in names:
        files.write(name, name)
    files.configure('raw_dirs = ["raw", "more"]\npattern = "*.fits*"')
    keys = {name: f.key for name, f in files.update().items()}
    assert len(set(keys.values())) == len(names)
    products = [p for k in keys.values() for p in (f"{k}.fits", f"{k}_sources.fits")] + ["field_stars.fits"]
    assert len(set(products)) == len(products)
    assert files.update()["raw/a.fits"].key == keys["raw/a.fits"]


def test_looking_writes_nothing_and_sees_what_recording_will(files):
    files.write("raw/a.fits", "one")
    before = files.update()["raw/a.fits"]
    files.write("raw/a.fits", "other")
    files.write("raw/b.fits", "new")
    files.configure('raw_dirs = ["raw"]\nexclude = ["a.fits"]')
    seen = files.look()
    assert files.rows() == 1
    with Session(files.engine) as session:
        (row,) = session.exec(select(Frame))
        assert (row.raw_digest, row.eliminated) == (before.raw_digest, False)
    recorded = files.update()
    assert seen == recorded
    assert seen["raw/a.fits"].eliminated


def test_changed_file_has_another_digest(files):
    files.write("raw/a.fits", "one")
    before = files.update()["raw/a.fits"]
    files.write("raw/a.fits", "other")
    after = files.update()["raw/a.fits"]
    assert after.id == before.id
    assert after.raw_digest != before.raw_digest


def test_touched_file_has_the_same_digest(files):
    path = files.write("raw/a.fits", "one")
    before = files.update()["raw/a.fits"].raw_digest
    os.utime(path, (1, 1))
    assert files.update()["raw/a.fits"].raw_digest == before


def test_moved_files_keep_their_rows(files):
    for name in ("a", "b"):
        files.write(f"raw/{name}.fits", name)
    before = files.update()
    (files.folder / "raw").rename(files.folder / "archive")
    files.configure('raw_dirs = ["archive"]')
    files.write("archive/c.fits", "c")
    after = files.update()
    assert after["archive/a.fits"].id == before["raw/a.fits"].id
    assert after["archive/b.fits"].key == "b"
    assert files.rows() == 3


def test_two_files_of_one_content_are_two_frames(files):
    files.write("raw/a.fits", "same")
    files.write("raw/b.fits", "same")
    assert len(files.update()) == 2
    assert files.rows() == 2


def test_file_that_is_gone_keeps_its_row(files):
    path = files.write("raw/a.fits", "a")
    files.write("raw/b.fits", "b")
    files.update()
    path.unlink()
    assert set(files.update()) == {"raw/b.fits"}
    assert files.rows() == 2


@pytest.mark.parametrize("left", ["nothing", "an empty folder", "other files"])
def test_raw_folder_that_is_away_is_a_missing_need(files, left):
    """A drive that is not mounted takes no frame out."""
    path = files.write("raw/night/a.fits", "a")
    files.configure('raw_dirs = ["raw/night"]')
    before = files.update()["raw/night/a.fits"]
    path.unlink()
    if left == "nothing":
        path.parent.rmdir()
    elif left == "other files":
        files.write("raw/night/readme.txt", "not mounted")
    with pytest.raises(NeedMissing, match=r"1 frames are known.*mount the drive"):
        files.update()
    files.write("raw/night/a.fits", "a")
    after = files.update()["raw/night/a.fits"]
    assert (after.id, after.raw_digest, after.eliminated) == (before.id, before.raw_digest, False)


def test_files_that_can_not_be_read_now_are_no_copies_of_each_other(files, monkeypatch):
    files.write("raw/a.fits", "a")
    files.write("raw/b.fits", "b")
    monkeypatch.setattr(frame_list, "file_digest", lambda path: ABSENT)
    unread = files.update()
    assert [f.eliminated for f in unread.values()] == [False, False]
    monkeypatch.undo()
    read = files.update()
    assert len({f.raw_digest for f in read.values()} - {""}) == 2
    # One that was known keeps what is known of it.
    files.write("raw/a.fits", "another")
    monkeypatch.setattr(frame_list, "file_digest", lambda path: ABSENT)
    assert files.update()["raw/a.fits"].raw_digest == read["raw/a.fits"].raw_digest


def test_exclusion_in_the_project_file(files):
    files.write("raw/a.fits", "a")
    files.configure('raw_dirs = ["raw"]\nexclude = ["a.fits"]')
    frame = files.update()["raw/a.fits"]
    assert frame.comment == EXCLUDED_IN_FILE
    assert excluded(frame)
    files.configure()
    frame = files.update()["raw/a.fits"]
    assert (frame.eliminated, frame.comment) == (False, "")


def test_frames_are_taken_out_and_in_by_name(files):
    for name in ("raw/a.fits", "more/a.fits", "raw/b.fits"):
        files.write(name, name)
    files.configure('raw_dirs = ["raw", "more"]')
    files.update()

    def out(session):
        return sorted(Path(f.original_image_path).name for f in session.exec(select(Frame)) if excluded(f))

    with Session(files.engine) as session:
        assert exclude_frames(session, ["a.fits", "a", "b"], "clouds") == 3  # two folders have an a.fits
        assert out(session) == ["a.fits", "a.fits", "b.fits"]
        assert include_frames(session, ["b.fits"]) == 1
        assert out(session) == ["a.fits", "a.fits"]
        with pytest.raises(LcfError, match=r"b\.fits can't be taken back in: not excluded"):
            include_frames(session, ["a.fits", "b.fits"])
        with pytest.raises(LcfError, match='no frame is called "c"'):
            exclude_frames(session, ["b", "c"], "clouds")
        assert out(session) == ["a.fits", "a.fits"]  # all or nothing
        assert include_frames(session, ["a.fits"]) == 2
        assert out(session) == []


@pytest.mark.parametrize(
    ("stage", "eliminated"), [("read_convert_skysub_character_catalog", True), ("plate_solving", False)]
)
def test_frame_that_is_taken_back_stands_as_the_stages_left_it(files, stage, eliminated):
    files.write("raw/a.fits", "a")
    frame_id = files.update()["raw/a.fits"].id
    with Session(files.engine) as session:
        session.add(
            Product(stage=stage, unit=f"frame:{frame_id}", fingerprint="", token="", components={}, state="unusable",
                    reason="has its reason")
        )  # fmt: skip
        frame = session.get(Frame, frame_id)
        frame.eliminated, frame.comment = True, EXCLUDED_BY_COMMAND + "clouds"
        undo_exclusion(session, frame)
        assert (frame.eliminated, frame.comment) == (eliminated, "has its reason")
        assert not excluded(frame)


@pytest.mark.parametrize(
    ("unit", "comment"),
    [("{}", "psf_modeling: no star"), ("{}:now", "psf_modeling: no star"), ("{}:before", ""), ("{}0:now", "")],
)
def test_remark_of_a_later_stage_comes_back_with_the_frame(files, unit, comment):
    """That of its field in use; not that of a field given up, nor of another frame."""
    files.write("raw/a.fits", "a")
    frame_id = files.update()["raw/a.fits"].id
    with Session(files.engine) as session:
        for name in ("now", "before"):
            field = {"strategy": "roi_disk", "rois": ["X"], "ra": 1.0, "dec": 2.0, "radius": 0.1}
            session.add(CombinedFootprint(hash=name, active=name == "now", **field))
        session.add(
            Product(stage="psf_modeling", unit=unit.format(f"frame:{frame_id}"), fingerprint="", token="",
                    components={}, state="unusable", reason="no star", run_id=1)
        )  # fmt: skip
        frame = session.get(Frame, frame_id)
        frame.eliminated, frame.comment = True, EXCLUDED_BY_COMMAND + "clouds"
        undo_exclusion(session, frame)
        assert (frame.eliminated, frame.comment) == (False, comment)


def test_excluded_names_that_no_file_has(files):
    files.write("raw/frame_0012.fits", "a")
    files.write("raw/frame_0013.fits", "b")
    files.configure('raw_dirs = ["raw"]\nexclude = ["frame_0013.fits", "frame_012.fits", "other"]')
    assert idle_exclusions(files.config) == [
        '[frames] exclude names "frame_012.fits", and no file is called so; the nearest: frame_0012.fits, '
        "frame_0013.fits",
        '[frames] exclude names "other", and no file is called so',
    ]
    files.configure('raw_dirs = ["nowhere"]\nexclude = ["other"]')
    assert idle_exclusions(files.config) == []


def test_a_copy_of_a_file_is_taken_out_and_comes_back(files):
    files.configure('raw_dirs = ["raw", "more"]')
    files.write("raw/b.fits", "one")
    files.write("more/z.fits", "one")
    files.write("raw/other.fits", "other")
    seen = files.look()
    assert {n: f.eliminated for n, f in seen.items()} == {
        "more/z.fits": False, "raw/b.fits": True, "raw/other.fits": False
    }  # fmt: skip
    files.update()
    files.write("more/a.fits", "one")  # a later one, though its path comes first
    frames = files.update()
    assert [n for n, f in frames.items() if takes_part(f)] == ["more/z.fits", "raw/other.fits"]
    assert frames["more/a.fits"].comment.startswith("the same contents as ")
    assert "more/z.fits: the exposure is used once" in frames["more/a.fits"].comment
    (files.folder / "more/z.fits").unlink()
    frames = files.update()
    assert [n for n, f in frames.items() if takes_part(f)] == ["raw/b.fits", "raw/other.fits"]
    assert (frames["raw/b.fits"].eliminated, frames["raw/b.fits"].comment) == (False, "")
    assert "raw/b.fits" in frames["more/a.fits"].comment


def test_a_copy_stands_in_for_a_file_that_the_user_excludes(files):
    files.write("raw/a.fits", "one")
    files.write("raw/b.fits", "one")
    assert [n for n, f in files.update().items() if takes_part(f)] == ["raw/a.fits"]
    files.configure('raw_dirs = ["raw"]\nexclude = ["a.fits"]')
    assert [n for n, f in files.update().items() if takes_part(f)] == ["raw/b.fits"]
    files.configure()
    assert [n for n, f in files.update().items() if takes_part(f)] == ["raw/a.fits"]


def test_keys_serve_as_names_of_files_and_groups(files):
    names = ["..fits", "...fits", ".hidden.fits", "x" * 240 + ".fits", "x" * 239 + "y.fits", "日" * 80 + ".fits",
             "new\nline.fits", "UP.fits", "up.fits", "con:colon*.fits"]  # fmt: skip
    for name in names:
        files.write(f"raw/{name}", name)
    keys = {name: f.key for name, f in files.update().items()}
    assert len({k.casefold() for k in keys.values()}) == len(names)
    for key in keys.values():
        assert len(key.encode()) <= 110
        assert key.strip(".") == key
        assert not set("\n\t:*/?\\\"'") & set(key)
    assert {n: f.key for n, f in files.update().items()} == keys
