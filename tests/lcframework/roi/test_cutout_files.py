"""Names of a group's files: any instrument and band has its own, on any file system."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlmodel import Session, SQLModel

from lcframework.roi.cutout_files import distinct, slug, stem, stem_of
from lcframework.storage.tables import Frame


@pytest.mark.parametrize("text", ["r", "R", "OmegaCAM", "r_sdss", "VST-OmegaCAM", "0.8m", "é+"])
def test_plain_names_are_as_they_are(text):
    assert slug(text) == text


def test_names_that_differ_by_punctuation_stay_apart():
    texts = ["r", "r'", "r''", "r/", "r (new)", "r new", "r-new", "/r", "-r", " r", "r:", "ʼr"]
    names = [slug(t) for t in texts]
    assert len(set(names)) == len(texts)
    assert all(n.replace("-", "").replace("ʼ", "").isalnum() for n in names)
    assert slug("r'") == slug("r'").lower() == "r-" + slug("r'")[2:]
    assert slug("") == "none"
    assert slug("/'") not in ("none", "")


def test_names_that_differ_by_case_or_where_they_are_joined_stay_apart():
    groups = [("Q", "cam", "r"), ("Q", "cam", "R"), ("Q", "Cam", "r"), ("Q", "cam", "g"), ("Q_cam", "x", "r"),
              ("Q", "cam_x", "r"), ("Q", "cam", "x_r")]  # fmt: skip
    names = distinct({g: stem(*g) for g in groups})
    assert len({n.casefold() for n in names.values()}) == len(groups)
    assert names["Q", "cam", "g"] == "Q_cam_g"
    assert names["Q", "cam", "R"].startswith("Q_cam_R-")
    assert distinct({g: stem(*g) for g in reversed(groups)}) == names
    assert stem_of(f"prepared_roi_cutouts/cutouts_{names['Q', 'cam', 'R']}.h5") == names["Q", "cam", "R"]


def test_stage_gives_each_group_of_the_project_its_name():
    from lcframework.stages.prepare_calibrated_cutouts import PrepareCalibratedCutouts

    class Toolbox:
        class config:
            roi = ("Q", "q")

    stage = PrepareCalibratedCutouts()
    stage.toolbox = Toolbox
    engine = sa.create_engine("sqlite://")
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        for i, (instrument, band) in enumerate([("cam", "r"), ("cam", "R"), ("cam", "g"), ("tel", "r")]):
            session.add(Frame(original_image_path=str(i), key=str(i), instrument=instrument, band=band))
        session.flush()
        names = stage._stems(session)
    assert len(names) == len({n.casefold() for n in names.values()}) == 8
