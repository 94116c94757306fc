"""Plugins in a project: which take part, what their faults cost, and what remains when they are gone."""

from __future__ import annotations

import json
from typing import Any

import pytest

STAGE = """
from typing import ClassVar
import attrs
from lcframework.hookspecs import hookimpl
from lcframework.types import UnusableInput
from lcframework.work import FrameKey, Outcome, Stage, Task, Unit

@attrs.frozen
class Do(Task):
    def load(self, unit): return unit.payload
    def compute(self, values):
        print("at work")
        return values
    def save(self, unit, values, result):
        (self.toolbox.workdir / "count.txt").write_text(str(result))
        return Outcome(path="count.txt")

@attrs.define
class Count(Stage):
    name: ClassVar[str] = "count"
    title: ClassVar[str] = "Count"
    after: ClassVar[str] = "psf_modeling"
    up_to: int = 3
    def tasks(self): return {FrameKey: Do(self.name, self.toolbox)}
    def units(self, session, ledger):
        if self.up_to > 9:
            raise ValueError("too many")
        return [Unit(FrameKey(1), "one", self.components(), self.up_to)]

@hookimpl
def lcf_stages(): return {"count": Count}
"""
SURVEY = """
import attrs, numpy as np
from astropy.table import Table
from lcframework.hookspecs import hookimpl

@attrs.frozen
class Mine:
    def magnitudes(self, stars, band):
        table = Table({"source_id": stars["source_id"], "mag": np.asarray(stars["magnitude"])}, meta={"system": "AB"})
        table["mag_err"] = 0.02
        return table

@hookimpl
def lcf_calibration_surveys(): return {"mine": Mine}
"""


def stage_rows(status: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {s["name"]: s for s in status["stages"]}


def test_a_stage_takes_part_where_it_is_named(campaign: Any, install: Any) -> None:
    install("lcf-count", STAGE, {"stage-count": "lcf_count"})
    assert "count" not in stage_rows(campaign.status())
    campaign.append("[count]\nup_to = 5")
    (note,) = [d for d in campaign.status()["doubts"] if d["kind"] == "idle_stage"]
    assert note["text"] == "the stage count takes no part, because [run] stages does not name it"
    campaign.edit("[run]\n", '[run]\nstages = ["count"]\n')
    report = campaign.run_json("--start", "count", "--stop", "count", "--trace-plugins")
    assert report["exit_code"] == 0
    assert (campaign.folder / "count.txt").read_text() == "5"
    assert "the stage count printed: at work" in (campaign.folder / "lcf.log").read_text()
    asked = {(c["plugin"], c["method"]) for c in report["plugin_calls"]}
    assert ("lcf_stages count (stage-count of lcf-count 1.5)", "units") in asked


def test_a_stage_that_fails_costs_no_other(campaign: Any, install: Any) -> None:
    install("lcf-count", STAGE, {"stage-count": "lcf_count"})
    campaign.append("[count]\nup_to = 10")
    campaign.edit("[run]\n", '[run]\nstages = ["count"]\n')
    campaign.edit('[calibration]\nplugin = "file"', '[calibration]\nplugin = "gaia"')  # work for a later stage
    rows = stage_rows(campaign.status())
    assert "units raised ValueError: too many" in rows["count"]["broken"]
    assert rows["star_photometry"]["pending"] == []
    report = campaign.run_json("--start", "count", "--stop", "star_photometry")
    assert report["exit_code"] == 1
    assert [s["name"] for s in report["stages"]] == ["count", "star_photometry"]
    assert "lcf_stages count (stage-count of lcf-count 1.5): units raised ValueError" in report["stages"][0]["broken"]
    assert report["stages"][1]["broken"] == ""


def test_finished_projects_are_read_without_their_plugins(
    campaign: Any, install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = install("lcf-mine", SURVEY, {"survey-mine": "lcf_mine"})
    campaign.edit('[calibration]\nplugin = "file"', '[calibration]\nplugin = "mine"')
    campaign.append('[plugins]\nrequires = ["lcf-mine>=1.0"]')
    assert campaign.run().code == 0
    curve = campaign.curve()
    made = {name: row["made"] for name, row in stage_rows(campaign.status()).items()}
    info = folder / "lcf_mine-1.5.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lcf-mine\nVersion: 1.6\n")
    info.rename(folder / "lcf_mine-1.6.dist-info")
    (note,) = [d for d in campaign.status()["doubts"] if d["kind"] == "plugin_release"]
    assert note["text"].startswith('[calibration] plugin = "mine" is of lcf-mine 1.6 now, and was of lcf-mine 1.5')

    monkeypatch.setenv("LCF_DISABLE_PLUGINS", "lcf-mine")
    status = campaign.status()
    assert {name: row["made"] for name, row in stage_rows(status).items()} == made
    assert not any(row["pending"] for row in stage_rows(status).values())
    assert "survey-mine (lcf-mine 1.6) is switched off by LCF_DISABLE_PLUGINS" in status["absent"][0]
    ended = campaign.lcf("export", campaign.project, "--format", "csv")
    assert ended.code == 0, ended.err
    assert campaign.lcf("report", campaign.project).code == 0
    ended = campaign.run()
    assert ended.code == 1
    assert '[calibration] plugin: no installed plugin offers "mine"' in ended.err
    assert len(campaign.curve()) == len(curve)


def test_what_a_project_requires_is_looked_at_before_anything_runs(campaign: Any) -> None:
    campaign.append('[plugins]\nrequires = ["lcf-nowhere>=2"]')
    ended = campaign.run()
    assert ended.code == 1
    assert "[plugins] requires lcf-nowhere>=2, which is not installed: pip install 'lcf-nowhere>=2'" in ended.err
    assert "line " in ended.err
    assert json.loads(campaign.lcf("status", campaign.project, "--json").out)["absent"] != []


def test_without_plugins(campaign: Any, install: Any) -> None:
    install("lcf-mine", SURVEY, {"survey-mine": "lcf_mine"})
    assert "survey-mine" in campaign.lcf("plugins").out
    for arguments in (("plugins", "--no-plugins"), ("--no-plugins", "plugins")):
        out = campaign.lcf(*arguments).out
        (row,) = [line for line in out.splitlines() if line.startswith("survey-mine")]
        assert "switched off by LCF_DISABLE_PLUGINS or --no-plugins" in row
    assert "switched off" not in campaign.lcf("plugins").out
