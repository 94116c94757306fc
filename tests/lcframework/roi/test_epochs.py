"""The coefficients of a region's epochs: those at the region, where several regions share a field."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlmodel import Session

from lcframework.ancestry import Asked, trace
from lcframework.plugins import Plugins
from lcframework.project import Project
from lcframework.roi.epochs import selected_epochs
from lcframework.storage.tables import RegionCoefficient
from lcframework.testing import example_project
from lcframework.testing.finished_project import BAND, FIELD, INSTRUMENT, ROI


@pytest.fixture(name="project")
def fixture_project(tmp_path: Path) -> Project:
    """Return a finished project whose second frame is dimmer at the region, and at another that is not asked for."""
    project = Project.open(example_project(tmp_path / "example"), Plugins.installed())
    engine = project.engine()
    with Session(engine) as session:
        for roi, coefficient in ((ROI, 0.9), ("OTHER", 0.7)):
            session.add(RegionCoefficient(
                combined_footprint_hash=FIELD, frame_id=2, roi=roi, instrument=INSTRUMENT, band=BAND,
                coefficient=coefficient, coefficient_uncertainty=0.0045,
            ))  # fmt: skip
        session.commit()
    engine.dispose()
    return project


def test_a_region_is_divided_by_the_coefficient_at_its_place(project: Project) -> None:
    with project.session() as session:
        epochs = selected_epochs(session, FIELD, ROI, INSTRUMENT, BAND, {}, {})
    found = dict(zip(epochs["frame_id"].tolist(), epochs["normalization_coefficient"].tolist(), strict=True))
    assert found == {1: 1.0, 2: 0.9, 3: 1.0, 4: 1.0}
    errors = dict(zip(epochs["frame_id"].tolist(), epochs["relative_normalization_error"].tolist(), strict=True))
    assert errors == pytest.approx({1: 0.002, 2: 0.005, 3: 0.002, 4: 0.002})


def test_lcf_why_says_so(project: Project) -> None:
    answer = trace(project, Asked(ROI, "A", 2))
    section = next(s for s in answer.sections if s.name == "normalization")
    assert section.data["coefficient"] == 0.9
    assert section.data["coefficient_of_frame"] == 1.0
    assert "this is that at EXAMPLE; amid the field's regions it is 1.0000" in str(section.lines)
    number = next(s for s in answer.sections if s.name == "number")
    assert number.data["in_frame"]["flux_e_per_s"] == pytest.approx(0.9 * number.data["flux"])
