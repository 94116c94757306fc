"""What rests on an input that could be used before, and can't be now, is withdrawn; and comes back with it."""

from __future__ import annotations

import sqlite3

import attrs
import pytest

from lcframework.project import Project
from lcframework.report.plots.jobs import star_jobs
from lcframework.report.results import read_results
from lcframework.types import FitState, FitStatus, LcfError, UnusableInput

FLUX_CHI2 = "[normalization]\nflux_chi2 = { between = [1e8, 1e9] }\n"


def frames_in(campaign, table: str) -> set[int]:
    return {i for (i,) in campaign.query(f"select distinct frame_id from {table}")}


def files_of(folder) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_file())


@pytest.fixture
def failing(monkeypatch):
    """Return a function that makes the PSF fit of a batch's second frame fail from now on; and one that ends that."""
    from plugins_builtin.psf_models.starred import Starred

    fit = Starred.fit

    def spoilt(self, batch):
        psfs = list(fit(self, batch))
        psfs[1] = attrs.evolve(psfs[1], status=FitStatus(FitState.FAILED, 0, "spoilt by the test"))
        return psfs

    return lambda fails: monkeypatch.setattr(Starred, "fit", spoilt if fails else fit)


@pytest.mark.slow
def test_fluxes_of_a_frame_whose_psf_fails(campaign, failing):
    everything = frames_in(campaign, "star_flux_in_frame")
    text = campaign.project.read_text()
    before = campaign.query("select frame_id, gaia_id from star_flux_in_frame order by 1, 2")
    failing(True)
    campaign.append("[psf]\nexclude = ['a']")
    assert campaign.run("--stop", "calculate_normalization_coefficient").code == 3
    left = frames_in(campaign, "PSFs")
    assert len(left) == len(everything) - 1
    for table in ("star_flux_in_frame", "normalization_coefficients", "star_residuals"):
        assert frames_in(campaign, table) == left
    # The same PSF again: its photometry is done again, for it is gone.
    failing(False)
    campaign.project.write_text(text)
    done = campaign.done("--stop", "calculate_normalization_coefficient")
    assert (done["psf_modeling"], done["star_photometry"]) == (len(everything), len(everything) + 1)
    assert campaign.query("select frame_id, gaia_id from star_flux_in_frame order by 1, 2") == before
    assert frames_in(campaign, "normalization_coefficients") == everything
    assert "spoilt" not in " ".join(comment for _, comment in campaign.frames().values())


def test_fluxes_of_a_frame_that_can_not_be_measured_any_more(campaign, monkeypatch):
    from lcframework.stages.star_photometry import MeasureStars

    everything = frames_in(campaign, "star_flux_in_frame")
    load, lost = MeasureStars.load, min(everything)

    def refusing(self, unit):
        if unit.frame_id == lost:
            raise UnusableInput("refused by the test")
        return load(self, unit)

    monkeypatch.setattr(MeasureStars, "load", refusing)
    stop = ("--stop", "calculate_normalization_coefficient")
    assert campaign.run("--force", "star_photometry", *stop).code == 3
    for table in ("star_flux_in_frame", "normalization_coefficients", "star_residuals"):
        assert frames_in(campaign, table) == everything - {lost}


def test_light_curve_without_any_star_flux(campaign, monkeypatch):
    from lcframework.stages.star_photometry import MeasureStars

    def refusing(self, unit):
        raise UnusableInput("refused by the test")

    monkeypatch.setattr(MeasureStars, "load", refusing)
    report = campaign.run_json("--force", "star_photometry")
    assert report["exit_code"] == 3
    said = {u["stage"]: u["reason"] for u in report["unusable"]}
    assert "no star is measured any more in frames of" in said["prepare_calibrated_cutouts"]
    assert said["model_calibrated_cutouts"].startswith("no fit of QUAD is left")


def test_light_curve_of_a_campaign_that_can_not_be_normalised_any_more(campaign):
    text = campaign.project.read_text()
    before = campaign.curve()
    campaign.append(FLUX_CHI2)
    report = campaign.run_json()
    assert report["exit_code"] == 3
    assert "light curve of QUAD" in {u["unit"] for u in report["unusable"]}
    states = dict(campaign.query("select unit, state from products where stage = 'model_calibrated_cutouts'"))
    assert states == {"light_curve:QUAD": "unusable"}
    # What is no result any more can't be taken for one.
    folder = campaign.folder / "prepared_roi_cutouts"
    assert files_of(folder) == []
    assert len(files_of(folder / "withdrawn")) == 11  # cutouts, four of the fit, six tables
    with pytest.raises(LcfError, match=r"no light curve any more.*withdrawn"):
        Project.open(campaign.project).light_curve()
    assert campaign.run_json()["exit_code"] == 3
    assert len(files_of(folder / "withdrawn")) == 11
    campaign.project.write_text(text)
    assert campaign.run().code == 0
    assert repr(campaign.curve().as_array().tolist()) == repr(before.as_array().tolist())  # also where it has nan
    assert len(files_of(folder)) == 11
    assert files_of(folder / "withdrawn") == []


def test_stars_without_stamps_are_not_plotted(campaign):
    project = Project.open(campaign.project)
    (job,) = star_jobs(project, read_results(project))
    with_all = len(job.payload.frames)
    with sqlite3.connect(campaign.folder / "database.sqlite3") as database:
        database.execute("update products set state = 'unusable', path = '' where unit = "
                         "(select min(unit) from products where stage = 'stamp_extraction')"
                         " and stage = 'stamp_extraction'")  # fmt: skip
    (job,) = star_jobs(project, read_results(project))
    assert len(job.payload.frames) == with_all - 1
    assert all(f.stamps for f in job.payload.frames)
