"""A small simulated campaign, run once; tests work on copies of it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from astropy.table import Table

from lcframework.testing.campaign import CampaignTruth, read_truth, simulate_campaign

FRAMES = 4
SPARE = 2


@attrs.frozen
class Campaign:
    """A folder with raw frames, a project file and, once it ran, products."""

    folder: Path
    lcf: Callable[..., Any]

    @property
    def project(self) -> Path:
        return self.folder / "project.toml"

    @property
    def raw(self) -> list[Path]:
        return sorted((self.folder / "raw").glob("*.fits"))

    @property
    def spare(self) -> list[Path]:
        return sorted((self.folder / "spare").glob("*.fits"))

    @property
    def truth(self) -> CampaignTruth:
        return read_truth(self.folder)

    def run(self, *arguments: object) -> Any:
        return self.lcf("run", self.project, *arguments)

    def run_json(self, *arguments: object) -> dict[str, Any]:
        ended = self.run("--json", *arguments)
        assert ended.out, ended.err
        report: dict[str, Any] = json.loads(ended.out)
        assert report["exit_code"] == ended.code
        return report

    def done(self, *arguments: object) -> dict[str, int]:
        """Run, and return how many units each stage made, where it made any."""
        return {s["name"]: s["done"] for s in self.run_json(*arguments)["stages"] if s["done"]}

    def status(self) -> dict[str, Any]:
        ended = self.lcf("status", self.project, "--json")
        assert ended.code == 0, ended.err
        answer: dict[str, Any] = json.loads(ended.out)
        return answer

    def frames(self) -> dict[str, tuple[str, str]]:
        """Return each file's state and comment."""
        return {f["file"]: (f["state"], f["comment"]) for f in self.status()["frames"]}

    def pending(self) -> dict[str, list[str]]:
        """Return, for each stage with pending units, all that changed."""
        stages = self.status()["stages"]
        return {s["name"]: sorted({w for u in s["pending"] for w in u["why"]}) for s in stages if s["pending"]}

    def edit(self, old: str, new: str) -> None:
        text = self.project.read_text()
        assert old in text
        self.project.write_text(text.replace(old, new, 1))

    def append(self, text: str) -> None:
        self.project.write_text(self.project.read_text() + "\n" + text + "\n")

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.folder / "database.sqlite3", timeout=10)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def curve(self) -> Table:
        return Table.read(self.folder / "prepared_roi_cutouts" / "QUAD_photometry_per_epoch.csv", format="ascii.csv")

    def assert_same_curve(self, other: Campaign) -> None:
        """Two light curves of the same frames agree to a twentieth of their errors."""
        mine, theirs = self.curve(), other.curve()
        np.testing.assert_allclose(mine["mjd"], theirs["mjd"], rtol=0, atol=1e-9)
        for name in ("A", "B"):
            error = np.asarray(theirs[f"{name}_d_flux"])
            assert (np.abs(mine[f"{name}_flux"] - theirs[f"{name}_flux"]) < 0.05 * error).all()
            np.testing.assert_allclose(mine[f"{name}_d_flux"], error, rtol=0.02)


def copy_of(campaign: Campaign, folder: Path) -> Campaign:
    shutil.copytree(campaign.folder, folder)
    return Campaign(folder, campaign.lcf)


@pytest.fixture(scope="session")
def campaign_in(lcf: Callable[..., Any]) -> Callable[[Path], Campaign]:
    """Return a function that takes a simulated campaign's folder."""
    return lambda folder: Campaign(folder, lcf)


@pytest.fixture(scope="session")
def unrun(tmp_path_factory: pytest.TempPathFactory, lcf: Callable[..., Any]) -> Campaign:
    """Return a campaign that nobody ran: 4 frames in raw/, 2 more of the same in spare/."""
    pytest.importorskip("galsim")
    folder = tmp_path_factory.mktemp("campaign") / "unrun"
    simulate_campaign(
        folder, seed=3, frames=FRAMES + SPARE, size=520, stars=12, saturated_stars=1, faint_stars=10, field_galaxies=2,
        target="double",
    )  # fmt: skip
    (folder / "spare").mkdir()
    for path in sorted((folder / "raw").glob("*.fits"))[FRAMES:]:
        path.rename(folder / "spare" / path.name)
    campaign = Campaign(folder, lcf)
    campaign.append('workers = 1\n[roi_model]\nplugin = "joint"')
    return campaign


@pytest.fixture(scope="session")
def finished(unrun: Campaign, tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Return a campaign that ran to its end; not to be changed."""
    campaign = copy_of(unrun, tmp_path_factory.mktemp("campaign") / "finished")
    ended = campaign.run()
    assert ended.code == 0, ended.out + ended.err
    return campaign


@pytest.fixture
def campaign(finished: Campaign, tmp_path: Path) -> Campaign:
    """Return a copy of the finished campaign."""
    return copy_of(finished, tmp_path / "campaign")


@pytest.fixture
def fresh(unrun: Campaign, tmp_path: Path) -> Campaign:
    """Return a copy of the campaign that nobody ran."""
    return copy_of(unrun, tmp_path / "fresh")
