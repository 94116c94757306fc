"""The simulated campaigns that the pictures show: one as it should be, and some with faults."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from astropy.io import fits
from astropy.table import Table

from lcframework import Project
from lcframework.report import draw, write_report
from lcframework.testing.campaign import simulate_campaign

#: What was simulated and measured is kept here, and taken from here where it is there.
FOLDER = Path(__file__).parents[1] / "_build" / "pictures"

Settings = Mapping[str, Any]


def _nothing(folder: Path) -> None:
    """Leave the campaign as it was simulated."""


def _gain_of_the_camera(folder: Path) -> None:
    """Make headers say a gain that is four times the true one."""
    for path in sorted((folder / "raw").glob("*.fits")):
        with fits.open(path, mode="update") as hdus:
            hdus[0].header["GAIN"] *= 4.0


def _wrong_wcs(folder: Path) -> None:
    """Shift every WCS by about two pixels, and one, as a pointing model does, by three quarters of a minute."""
    rng = np.random.default_rng(5)
    for i, path in enumerate(sorted((folder / "raw").glob("*.fits"))):
        with fits.open(path, mode="update") as hdus:
            header = hdus[0].header
            for key in ("CRPIX1", "CRPIX2"):
                header[key] += float(rng.normal(0.0, 2.0))
            if i == 2:
                header["CRVAL2"] += 45.0 / 3600.0


def _poor_survey(folder: Path) -> None:
    """Calibrate by magnitudes that are the further off the fainter a star is, as where a survey's sky was too high."""
    table = Table.read(folder / "stars.ecsv")
    table["r_mag"] += 0.06 * (table["r_mag"] - 18.0)
    table.write(folder / "survey.ecsv")
    path = folder / "project.toml"
    before, section, after = path.read_text(encoding="utf-8").partition("[calibration.file]")
    path.write_text(before + section + after.replace('"stars.ecsv"', '"survey.ecsv"', 1), encoding="utf-8")


def _two_of_four(folder: Path) -> None:
    """Name two of the four images alone."""
    path = folder / "project.toml"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(x for x in lines if not x.startswith(("C = ", "D = "))), encoding="utf-8")


def _adding(text: str) -> Callable[[Path], None]:
    """Return the fault that some lines of a project file make."""

    def append(folder: Path) -> None:
        with (folder / "project.toml").open("a", encoding="utf-8") as file:
            file.write("\n" + text)

    return append


@attrs.frozen
class Campaign:
    """What is simulated, and what is done to it before it is measured."""

    name: str
    frames: int = 8
    settings: Settings = attrs.field(factory=dict)
    fault: Callable[[Path], None] = _nothing


CAMPAIGNS = {
    c.name: c
    for c in (
        Campaign("good", 36),  # the sky and the conditions of `lcf demo`
        Campaign("weather", 14, {"transparency": (0.02, 1.0), "seeing": (0.8, 2.6), "size": 700, "stars": 18},
                 fault=_adding('[roi_model]\nplugin = "joint"\n')),
        Campaign("stars", 14, {"variable_stars": 1, "variable_amplitude": 0.12, "double_stars": 2, "size": 700,
                               "stars": 18}, fault=_poor_survey),
        Campaign("gain", settings={"size": 700, "stars": 18}, fault=_gain_of_the_camera),
        Campaign("pointing", settings={"size": 700, "stars": 18, "dither": 25.0}, fault=_wrong_wcs),
        Campaign("optics", settings={"size": 700, "stars": 18, "field_aberrations": 1.6, "guiding": 0.25},
                 fault=_adding("[psf.starred]\nvariation = 0\n")),
        Campaign("missing", settings={"size": 700, "stars": 18}, fault=_two_of_four),
    )
}  # fmt: skip


def measured(name: str) -> Project:
    """Return a campaign's project with its products, plots and report; make them where they lack.

    A campaign whose making was stopped begins anew.
    """
    campaign, folder = CAMPAIGNS[name], FOLDER / name
    done = folder / ".done"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        simulate_campaign(folder, frames=campaign.frames, workers=2, **campaign.settings)
        campaign.fault(folder)
    project = Project.open(folder / "project.toml")
    if not done.exists():
        project.run()
        draw(project, workers=1)
        write_report(project)
        done.touch()
    return project
