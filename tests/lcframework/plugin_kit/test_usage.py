"""`lcf plugins --project` says which plugins a project uses, and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session

from lcframework import Project
from lcframework.plugin_kit.usage import Use, uses
from lcframework.storage.tables import DecidedSetting
from lcframework.testing import example_project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = example_project(tmp_path / "project", finished=False)
    own = '[psf]\nplugin = "starred"\n[psf.starred]\nregularization = 3.0\n[cosmics]\nplugin = "none"\n'
    path.write_text(path.read_text() + own + '[instrument."Cam B".cosmics]\nplugin = "astroscrappy"\n')
    return path


def found(project: Path) -> dict[str, Use]:
    return {f"{use.place} {use.name}": use for use in uses(Project.open(project))}


def test_who_chose_each(project: Path) -> None:
    used = found(project)
    assert used["[psf] starred"].why == "named"
    assert used["[psf] starred"].options == {"regularization": (3.0, "project file")}
    assert used["[psf] starred"].origin.startswith("lcframework ")
    assert used["[photometry] starred"].why == "default"
    assert used["[cosmics] none"].why == "named"
    assert used["[stars] file"].options["path"] == (str(project.parent / "stars.ecsv"), "project file")
    assert used["[header] fits"].why == "auto, the default: what there is is used"
    assert used["[instrument.Cam B.cosmics] astroscrappy"].why == "named"
    assert used["[reduction] none"].why.startswith("auto")
    assert used["[run] executor local"].why == "default"
    assert used["lcf_setting_rules seeing-limit"].why == "installed: decides roi_cutouts.frames"
    assert "[instrument.Cam B.psf] starred" not in used  # the same as for all


def test_what_frames_decided(project: Path) -> None:
    opened = Project.open(project)
    with Session(opened.engine()) as session:
        session.add(DecidedSetting(instrument="", setting="photometry.starred.background_per_epoch", value=True))
        session.commit()
    opened.engine().dispose()
    option = found(project)["[photometry] starred"].options
    assert option == {"background_per_epoch": (True, "decided by frames")}


STAGE = """
import attrs
from typing import ClassVar
from lcframework.hookspecs import hookimpl
from lcframework.work import Stage

@attrs.define
class Idle(Stage):
    name: ClassVar[str] = "idle"
    title: ClassVar[str] = "Idle"
    after: ClassVar[str] = "model_calibrated_cutouts"
    def units(self, session, ledger):
        return []
    def tasks(self):
        return {}

@hookimpl
def lcf_stages():
    return {"idle": Idle}

@hookimpl
def lcf_event(event):
    pass
"""


def test_what_takes_part_by_being_installed(project: Path, install: Any, lcf: Callable[..., Any]) -> None:
    install("lcf-idle", STAGE, {"stage-idle": "lcf_idle"})
    used = found(project)
    if "lcf_stages idle" in used:
        assert used["lcf_stages idle"].why == "installed"
    assert used["lcf_event stage-idle"].origin == "lcf-idle 1.5"


def test_the_command(project: Path, lcf: Callable[..., Any]) -> None:
    ended = lcf("plugins", "--project", project)
    assert ended.code == 0, ended.err
    assert "regularization = 3.0  # project file" in ended.out
    row = next(line for line in ended.out.splitlines() if line.startswith("[psf] "))
    assert row.split() == ["[psf]", "starred", "named", "(lcframework", "0.1.0)"]
    told = json.loads(lcf("plugins", "--project", project, "--json").out)
    psf = next(row for row in told if row["place"] == "[psf]")
    assert psf["options"] == {"regularization": {"value": 3.0, "by": "project file"}}
    assert lcf("plugins", "nobody", "--project", project).code == 1
