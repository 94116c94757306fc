"""How a project stands: which selection keeps a frame out, and which names have no effect."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlmodel import Session

from lcframework.frames.exclusions import IMPORT
from lcframework.project import Project
from lcframework.storage.tables import CombinedFootprint, Frame, NormalizationCoefficient, Product, PsfRow
from lcframework.work.scopes import idle_overrides


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project with a frame that nothing has to be done with; its file is gone."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "project.toml").write_text(
        "[roi.X]\nra = 1.0\ndec = 2.0\n[roi_cutouts]\nnormalization = { coefficient = [0.5, 2.0] }\n"
    )
    project = Project.open(tmp_path / "project.toml")
    project.run(stop="initialize_database")
    with Session(project.engine()) as session:
        session.add(
            Frame(id=1, original_image_path="a.fits", key="a", image_relpath="frames/a.fits", instrument="Cam",
                  plate_solved=True, roi_in_footprint=True, seeing_arcseconds=1.0)
        )  # fmt: skip
        # Not "made", so that no later stage has work; but no longer new.
        session.add(Product(stage=IMPORT, unit="frame:1", fingerprint="", token="", components={}, state="forced"))
        session.commit()
    return project


def add_field(session: Session, name: str, active: bool, coefficient: float, roi: str = "X") -> None:
    place = {"strategy": "roi_disk", "rois": [roi], "ra": 1.0, "dec": 2.0, "radius": 0.1}
    session.add(CombinedFootprint(hash=name, active=active, **place))
    key = {"combined_footprint_hash": name, "frame_id": 1}
    session.add(PsfRow(**key, psf_ref="", path="", chi2=1.0, subsampling_factor=2, stars="", status="converged"))
    session.add(
        NormalizationCoefficient(**key, instrument="Cam", band="r", coefficient=coefficient,
                                 coefficient_uncertainty=0.01, scatter=0.01, stars=5)
    )  # fmt: skip


@pytest.mark.parametrize("order", [("before", "now"), ("now", "before")])
def test_reasons_come_from_the_field_in_use(project: Project, order: tuple[str, str]) -> None:
    """A field given up keeps its rows; what they say keeps no frame out."""
    coefficients = {"before": 0.1, "now": 3.0}
    with Session(project.engine()) as session:
        for name in order:
            add_field(session, name, name == "now", coefficients[name])
            session.flush()
        session.commit()
    (frame,) = project.status().frames
    assert frame.state == "left out later"
    assert frame.comment == "coefficient = 3 lies outside [roi_cutouts] normalization: [0.5, 2]"


@pytest.mark.parametrize("order", [("f1", "f2"), ("f2", "f1")])
def test_each_field_has_its_own_reason(project: Project, order: tuple[str, str]) -> None:
    """Where two fields have the same frame, it has a coefficient in each."""
    of_field = {"f1": ("X", 0.1), "f2": ("Y", 3.0)}
    with Session(project.engine()) as session:
        for name in order:
            roi, coefficient = of_field[name]
            add_field(session, name, True, coefficient, roi)
            session.flush()
        session.commit()
    (frame,) = project.status().frames
    limits = "lies outside [roi_cutouts] normalization: [0.5, 2]"
    assert set(frame.comment.split("; ")) == {f"for X: coefficient = 0.1 {limits}", f"for Y: coefficient = 3 {limits}"}


def test_a_reason_that_all_fields_share_is_said_once(project: Project) -> None:
    with Session(project.engine()) as session:
        add_field(session, "f1", True, 3.0)
        add_field(session, "f2", True, 3.0, "Y")
        session.commit()
    (frame,) = project.status().frames
    assert frame.comment == "coefficient = 3 lies outside [roi_cutouts] normalization: [0.5, 2]"


def test_frame_without_a_psf_in_the_field_in_use_has_no_such_reason(project: Project) -> None:
    with Session(project.engine()) as session:
        add_field(session, "before", False, 0.1)
        session.commit()
    (frame,) = project.status().frames
    assert frame.comment == ""


def test_a_poor_psf_is_named_with_its_limit(project: Project) -> None:
    with Session(project.engine()) as session:
        add_field(session, "now", True, 1.0)
        for i in range(2, 12):
            frame = {"image_relpath": f"frames/{i}.fits", "instrument": "Cam", "plate_solved": True}
            session.add(Frame(id=i, original_image_path=f"{i}.fits", key=str(i), roi_in_footprint=True,
                              seeing_arcseconds=1.0, **frame))  # fmt: skip
            session.add(
                Product(stage=IMPORT, unit=f"frame:{i}", fingerprint="", token="", components={}, state="forced")
            )
            psf = {"psf_ref": "", "path": "", "subsampling_factor": 2, "stars": "", "status": "converged"}
            chi2 = {10: 1.4, 11: 1.9}.get(i, 1.0 + 0.001 * i)
            session.add(PsfRow(combined_footprint_hash="now", frame_id=i, chi2=chi2, **psf))
        session.commit()
    said = {frame.file: frame.comment for frame in project.status().frames}
    assert said["11.fits"] == (
        "its PSF's chi2 of 1.90 exceeds 1.50, the limit that [photometry] psf_chi2 = { sigma_clip = 4.0 } sets among "
        "11 frames"
    )
    assert said["10.fits"] == "no star gives it a normalization coefficient"


def test_a_solved_frame_whose_footprint_is_not_known_yet(project: Project) -> None:
    with Session(project.engine()) as session:
        frame = session.get(Frame, 1)
        frame.roi_in_footprint = False
        session.add(frame)
        session.commit()
    (status,) = project.status().frames
    assert (status.state, status.comment) == ("solved", "its footprint has not been calculated yet")


def test_settings_of_an_instrument_that_no_imported_frame_has(project: Project) -> None:
    with project.session() as session:
        assert idle_overrides(session, ["Cam"]) == []
        assert idle_overrides(session, ["Camm"]) == [
            '[instrument."Camm"] has no effect so far: no imported frame is of that instrument; did you mean "Cam"?'
        ]
