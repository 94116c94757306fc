"""`lcf clean`: what nothing refers to, by name and by the database, and nothing else."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from sqlmodel import Session

from lcframework.project import Project
from lcframework.storage.lock import hold
from lcframework.storage.tables import Frame, Product, PsfRow

LEFT = {
    "frames/a.wcs": 2,  # of a frame that names another file
    "frames/2024/a_sources.fits": 3,
    "frames/hot_pixels_0123abcd.fits": 4,
    "frames/master_0123456789ab.fits": 5,
    "regions/a/stamps_0123456789ab.h5": 6,
    "regions/gone/psf_ab_0123456789ab.h5": 7,
    "regions/a/fluxes_0123456789ab.h5": 8,
    "regions/a/.stamps_0123456789ab.h5.77.tmp": 9,
}
KEPT = (
    "frames/a.fits", "frames/a_sources.fits", "frames/2024/a.wcs", "frames/mine.fits", "frames/notes.txt",
    "frames/master_list.fits", "frames/field_stars.fits", "frames/master_ffff.fits", "regions/a/stamps_1.h5",
    "regions/a/psf_ab_1.h5", "regions/a/fluxes_1.h5", "regions/a/notes.h5", "raw/stamps_1.h5", "raw/a.wcs",
    "prepared_roi_cutouts/cutouts_QUAD.h5", "plots/sources/gone.jpg", "stamps_1.h5",
)  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project.toml").write_text("[roi.X]\nra = 10.0\ndec = 20.0\n")
    for path, size in {**LEFT, **dict.fromkeys(KEPT, 11)}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x" * size)
    with Session(Project.open(tmp_path / "project.toml").engine()) as session:
        session.add(Frame(id=1, original_image_path="a", key="a", image_relpath="frames/a.fits",
                          sources_relpath="frames/a_sources.fits", wcs_relpath="frames/2024/a.wcs"))  # fmt: skip
        for unit, path in enumerate(("regions/a/stamps_1.h5", "regions/a/fluxes_1.h5", "frames/master_ffff.fits")):
            session.add(Product(stage="s", unit=str(unit), fingerprint="", token="", components={}, state="made",
                                path=path))  # fmt: skip
        session.add(PsfRow(combined_footprint_hash="f", frame_id=1, psf_ref="ab", path="regions/a/psf_ab_1.h5",
                           chi2=1.0, subsampling_factor=2, stars="", status=""))  # fmt: skip
        session.commit()
    return tmp_path / "project.toml"


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} & {*LEFT, *KEPT}


def test_lists_then_removes_what_nothing_refers_to(project, lcf):
    listed = lcf("clean", project, "--dry-run")
    assert listed.code == 0
    assert {line.split()[2] for line in listed.out.splitlines()[:-1]} == set(LEFT)
    assert listed.out.splitlines()[-1] == "8 files, 44 B: nothing is removed"
    asked = lcf("clean", project)  # no terminal
    assert "--yes" in asked.out
    assert files(project.parent) == {*LEFT, *KEPT}
    told = json.loads(lcf("clean", project, "--json").out)
    assert ({f["path"]: f["size"] for f in told["files"]}, told["bytes"], told["removed"]) == (LEFT, 44, False)
    assert json.loads(lcf("clean", project, "--json", "--yes").out)["removed"]
    assert files(project.parent) == set(KEPT)
    assert not (project.parent / "regions/gone").exists()
    assert lcf("clean", project, "--yes").out == "Nothing to remove.\n"


def test_refuses_while_a_run_holds_the_workdir(project, lcf):
    with hold(project.parent):
        refused = lcf("clean", project, "--yes")
    assert refused.code == 1
    assert "another run holds" in refused.err
    assert files(project.parent) == {*LEFT, *KEPT}


def test_refuses_where_the_database_knows_no_frame(project, lcf):
    (project.parent / "database.sqlite3").unlink()
    refused = lcf("clean", project, "--yes")
    assert refused.code == 1
    assert "knows no frame" in refused.err
    assert files(project.parent) == {*LEFT, *KEPT}


def test_asks_on_a_terminal(project, lcf, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)
    answers = iter([False, True])
    monkeypatch.setattr("click.confirm", lambda text: next(answers))
    assert lcf("clean", project).out.endswith("nothing is removed\n")
    assert files(project.parent) == {*LEFT, *KEPT}
    assert lcf("clean", project).out.endswith("removed\n")
    assert files(project.parent) == set(KEPT)


def test_a_killed_injection_leaves_a_folder_and_a_kept_one_stays(project, lcf):
    scratch = project.parent / "injections/scratch"
    (scratch / "frames").mkdir(parents=True)
    (scratch / "database.sqlite3").write_bytes(b"x" * 100)
    (scratch / "frames/a.fits").hardlink_to(project.parent / "frames/a.fits")
    (scratch / "raw").symlink_to(project.parent / "raw")
    (scratch / "kept_by_user").touch()
    assert "injections" not in lcf("clean", project, "--dry-run").out
    (scratch / "kept_by_user").unlink()
    (line,) = [row for row in lcf("clean", project, "--dry-run").out.splitlines() if "injections" in row]
    assert line.split()[:3] == ["100", "B", "injections/scratch"]
    lcf("clean", project, "--yes")
    assert not scratch.exists()
    assert files(project.parent) == set(KEPT)
