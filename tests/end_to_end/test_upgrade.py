"""A workdir that an earlier version made: its database is brought up to date, and its finished work counts."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lcframework.provenance import complete, digest
from lcframework.running import recording
from lcframework.storage.connection import FILE_NAME
from lcframework.storage.schema import HEAD
from lcframework.work import ledger, unit

#: Earlier versions left no setting to the frames.
AS_DOCUMENTED = """
[roi_model.joint]
background = true
[stamps]
star_size = 24
roi_size = 32
hot_pixels = ""
[psf]
stars = 10
[photometry]
stars = 10
[photometry.starred]
background_per_epoch = false
[roi_cutouts]
frames = { seeing_arcseconds = [0.0, 3.0] }
"""

ADDED = ("ra", "dec", "trail", "position_error", "comment")


@pytest.fixture(scope="module")
def made_before(unrun: Any, tmp_path_factory: pytest.TempPathFactory, campaign_in: Callable[[Path], Any]) -> Any:
    """Return a campaign that ran when every option counted in fingerprints, and tables had no version."""
    folder = tmp_path_factory.mktemp("upgrade") / "campaign"
    shutil.copytree(unrun.folder, folder)
    campaign = campaign_in(folder)
    campaign.append(AS_DOCUMENTED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unit, "fingerprint", lambda components: digest(complete(components)))
        patch.setattr(recording, "counted", complete)
        for module in (ledger, recording):
            patch.setattr(module, "FINGERPRINT_RULE", 1)
        assert campaign.run().code == 0
    with contextlib.closing(sqlite3.connect(folder / FILE_NAME)) as connection, connection:
        for (trigger,) in connection.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            connection.execute(f"drop trigger {trigger}")
        connection.executescript(
            "drop table region_coefficients; alter table normalization_coefficients drop column slow_scatter; "
            "drop table passed_stars; alter table frames drop column header_parser; "
            + "".join(f"alter table rois_in_frames drop column {name}; " for name in ADDED)
            + "drop table product_files; drop table changes; drop table plans; drop table alembic_version; "
            "drop table doubts; drop table settings; drop table estimator_weights; "
            "drop table estimator_scales; alter table star_flux_in_frame drop column psf_flux; "
            "alter table star_flux_in_frame drop column psf_flux_uncertainty; "
            "alter table star_flux_in_frame drop column weights; "
            "alter table star_flux_in_frame drop column flux_noise; alter table products drop column fingerprint_rule"
        )
    return campaign


@pytest.fixture
def old(made_before: Any, tmp_path: Path, campaign_in: Callable[[Path], Any]) -> Any:
    """Return a copy of it."""
    shutil.copytree(made_before.folder, tmp_path / "campaign")
    return campaign_in(tmp_path / "campaign")


def test_finished_work_counts(old: Any, lcf: Any) -> None:
    ended = lcf("status", old.project)
    assert ended.code == 1
    assert "lcf upgrade" in ended.err
    ended = lcf("upgrade", old.project)
    assert ended.code == 0
    assert ended.out.startswith("The database's tables were brought from version 0001 to " + HEAD)
    assert lcf("upgrade", old.project).out == "Nothing to do: the database is up to date.\n"
    assert old.pending() == {}
    report = old.run_json()
    assert (report["exit_code"], report["upgraded"]) == (0, "")
    assert {s["name"]: s["done"] for s in report["stages"] if s["done"]} == {}
    assert old.query("select count(*) from products where fingerprint_rule = 1 and stage != 'finish'") == [(0,)]
    # What changes is found by comparing with what the earlier version recorded.
    old.edit("[plate_solving]", "[psf.starred]\niterations_pixels = 2000\n[plate_solving]")
    assert old.pending() == {"psf_modeling": ["psf.starred.iterations_pixels: 3000 -> 2000"]}
    assert "psf_modeling" in old.done("--stop", "psf_modeling")
    assert old.query("select distinct fingerprint_rule from products where stage = 'psf_modeling'") == [(2,)]


def test_a_run_upgrades_and_says_so(old: Any) -> None:
    ended = old.run()
    assert ended.code == 0
    assert f"Upgraded: the database's tables were brought from version 0001 to {HEAD}" in ended.out
    assert "decided: psf.starred.subsampling_factor" in ended.out  # that rule is newer
    assert "Nothing to do" in ended.out
    assert f"from version 0001 to {HEAD}" in (old.folder / "lcf.log").read_text()
