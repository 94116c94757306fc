"""`lcf inject`: sources drawn in raw frames come back as they were drawn, and wrong measuring does not go unnoticed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from astropy.table import Table

from lcframework.project import Project
from lcframework.report.builtin_panels import Injections
from lcframework.report.results import read_results

WRONG = """
import attrs
from lcframework.hookspecs import hookimpl
from plugins_builtin.roi_models.joint import Joint

@attrs.frozen
class Wrong(Joint):
    "Fluxes are four percent too bright, and errors a third of what they are."
    def fit(self, cutouts, point_sources):
        fit = super().fit(cutouts, point_sources)
        return attrs.evolve(fit, flux=1.04 * fit.flux, covariance=fit.covariance / 9)

@hookimpl
def lcf_roi_models():
    return {"wrong": Wrong}
"""


def contents(folder: Path) -> dict[str, str]:
    """Return digests of all files, other than of what comes out, of the lock, and of what SQLite keeps of readers."""
    files = [p for p in folder.rglob("*") if p.is_file() and "injections" not in p.relative_to(folder).parts]
    files = [p for p in files if not p.name.endswith(("-wal", "-shm", ".lock", ".pyc"))]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@attrs.frozen
class Drawn:
    campaign: Any
    before: dict[str, str]
    answer: dict[str, Any]


@pytest.fixture(scope="module")
def drawn(finished: Any, tmp_path_factory: pytest.TempPathFactory, campaign_in: Callable[[Path], Any]) -> Drawn:
    """Return a campaign in whose frames sources were drawn; not to be changed."""
    folder = tmp_path_factory.mktemp("injections") / "campaign"
    shutil.copytree(finished.folder, folder)
    campaign = campaign_in(folder)
    before = contents(folder)
    ended = campaign.lcf("inject", campaign.project, "--number", 16, "--json")
    assert ended.code == 0, ended.out + ended.err
    return Drawn(campaign, before, json.loads(ended.out))


@pytest.mark.slow
def test_nothing_of_the_project_changes(drawn: Drawn) -> None:
    assert contents(drawn.campaign.folder) == drawn.before
    assert not (drawn.campaign.folder / "injections" / "scratch").exists()


@pytest.mark.slow
def test_fluxes_come_back_as_they_were_drawn(drawn: Drawn) -> None:
    answer = drawn.answer
    assert answer["placed"] == 16
    assert answer["frames"] == 4
    bright = [o for o in answer["by_brightness"] if o["stated"] < 0.1]
    assert len(bright) >= 4
    assert sum(o["sources"] for o in answer["by_brightness"]) == 16
    for outcome in bright:
        assert outcome["complete"] > 0.9
    table = Table.read(answer["table"], format="ascii.ecsv")
    table = table[np.isfinite(table["flux"]) & (table["saturated"] == 0)]
    error = np.hypot(table["d_flux"], table["truth"] * table["truth_error"])
    pull = (np.asarray(table["flux"]) - table["truth"]) / error
    singles = table["level"] != "twin"
    assert abs(np.median(pull[singles])) < 0.5  # 48 epochs of 12 sources
    assert 0.6 < 1.4826 * np.median(np.abs(pull[singles])) < 1.5
    # A lost factor (gain, exposure time, transparency) would be far more than this.
    high = singles & (table["truth"] > 30 * table["d_flux_fit"])
    weight = (np.asarray(table["truth"]) / error)[high] ** 2
    relative = (np.asarray(table["flux"]) / table["truth"] - 1)[high]
    assert abs((weight * relative).sum() / weight.sum()) < 0.01


@pytest.mark.slow
def test_limits_are_those_that_errors_state(drawn: Drawn) -> None:
    assert len(drawn.answer["limits"]) == 4
    faintest = [o for o in drawn.answer["by_brightness"] if not o["level"].startswith("twin")][-1]
    assert faintest["complete"] < 0.3  # half of the limit
    for limit in drawn.answer["limits"]:
        assert 0.3 < limit["stated"] / (2 * faintest["flux"]) < 3


@pytest.mark.slow
def test_the_report_shows_them(drawn: Drawn) -> None:
    project = Project.open(drawn.campaign.project)
    panel = Injections(read_results(project))
    shown = panel.render(project)
    assert "bias mmag" in shown
    assert "before the present light curve" not in shown
    assert (drawn.campaign.folder / "injections" / "QUAD.png").stat().st_size > 10_000


@pytest.mark.slow
def test_wrong_measuring_is_found_out(campaign: Any) -> None:
    campaign.edit('plugin = "joint"', 'plugin = "wrong"')
    campaign.append('[plugins]\nlocal = ["wrong.py"]')
    (campaign.folder / "wrong.py").write_text(WRONG)
    assert campaign.run().code == 0
    ended = campaign.lcf("inject", campaign.project, "--number", 16)
    assert ended.code == 0, ended.err
    assert "scatter" in ended.out
    kinds = {d["kind"] for d in campaign.status()["doubts"]}
    assert "injected_bias" in kinds
    # They speak of this light curve alone.
    campaign.edit('plugin = "wrong"', 'plugin = "joint"')
    assert campaign.run().code == 0
    assert not {d["kind"] for d in campaign.status()["doubts"]} & kinds


def test_a_project_that_has_not_run(fresh: Any) -> None:
    ended = fresh.lcf("inject", fresh.project)
    assert ended.code == 1
    assert "has no light curve yet: run the project to its end" in ended.err
    assert fresh.lcf("inject", fresh.project, "--roi", "QAUD").code == 2
    assert fresh.lcf("inject", fresh.project, "--magnitudes", "18;19").code == 2


def test_raw_files_that_are_away(campaign: Any) -> None:
    campaign.raw[0].rename(campaign.folder / "elsewhere.fits")
    ended = campaign.lcf("inject", campaign.project)
    assert ended.code == 1
    assert "1 raw files of the light curve are not there" in ended.err
