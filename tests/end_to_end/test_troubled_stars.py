"""Reference stars that are none: each is recognised with its reason, the good ones stay, and their fluxes are true."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from astropy.table import Table

from lcframework.project import Project
from lcframework.testing.campaign import extend_campaign, simulate_campaign

pytestmark = pytest.mark.slow
FRAMES = 8


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory, campaign_in: Callable[[Path], Any]) -> Any:
    """Return a campaign with a saturated star, a double, a galaxy, an edge star and a variable; measured."""
    pytest.importorskip("galsim")
    folder = tmp_path_factory.mktemp("campaign") / "troubled"
    simulate_campaign(
        folder, seed=1, frames=FRAMES, size=520, stars=16, saturated_stars=1, faint_stars=12, field_galaxies=2,
        target="double", variable_stars=1, variable_amplitude=0.2, double_stars=1, mimic_galaxies=1, edge_stars=1,
        dither=0.4, rotation=0.02, wcs_error=0.1,
    )  # fmt: skip
    campaign = campaign_in(folder)
    campaign.edit("magnitude = [16.0, 20.0]", "magnitude = [12.0, 20.0]")  # the catalogue does not spare us
    campaign.append(
        "workers = 1\n[psf]\nstars = 40\n[photometry]\nstars = 40\n"
        "[photometry.starred]\nbackground_per_epoch = false\n"  # a ninth frame could decide it otherwise
        '[roi_model]\nplugin = "none"'
    )
    ended = campaign.run("--stop", "calculate_normalization_coefficient")
    assert ended.code == 0, ended.out + ended.err
    return campaign


def by_role(campaign: Any) -> dict[str, Table]:
    """Return the project's stars by what they truly are."""
    truth = campaign.truth.objects
    catalogue = Table.read(campaign.folder / "stars.ecsv")
    stars = Project.open(campaign.project).stars()
    roles = {str(o["name"]): "variable" if o["variable"] else str(o["role"]) for o in truth}
    assert set(stars["gaia_id"]) <= {str(i) for i in catalogue["source_id"]}
    # galaxies are known by a number of the catalogue's own; only the mimic passes for a star
    kinds = np.array([roles.get(str(i), "mimic") for i in stars["gaia_id"]])
    return {str(kind): stars[kinds == kind] for kind in np.unique(kinds)}


def test_each_trouble_is_recognised(troubled: Any) -> None:
    stars = by_role(troubled)
    assert all(len(stars[role]) == 1 for role in ("saturated", "double", "mimic", "edge", "variable"))
    for role, kinds in (
        ("saturated", ["saturated"]), ("edge", ["edge"]), ("mimic", ["extended"]),
        ("double", ["blended", "extended", "elongated", "unlike"]),
    ):  # fmt: skip
        row = stars[role][0]
        found = sum(int(row[kind]) for kind in kinds)
        assert found == row["frames"], (role, row["trouble"])
        assert found >= FRAMES - 1  # the pointing puts the edge star outside once
    assert "variable" in stars["variable"]["trouble"][0]
    left_out = dict(troubled.query("select gaia_id, comment from star_levels"))
    double = str(stars["double"]["gaia_id"][0])
    # in the worst seeing it passes for a star: it is left out there too, as the other frames know better
    assert left_out.get(double, "no single star").startswith("no single star")


def test_no_good_star_is_dropped(troubled: Any) -> None:
    good = by_role(troubled)["reference"]
    assert len(good) >= 12
    assert (good["usable"] == good["frames"]).all(), list(good["trouble"])
    assert not any(good["trouble"])


@attrs.frozen(eq=False)
class Fluxes:
    """The good stars' fluxes over their true ones (frames, stars), their errors, and the frames' coefficients."""

    ratio: np.ndarray
    error: np.ndarray
    coefficient: np.ndarray
    coefficient_error: np.ndarray
    intrinsic: np.ndarray


@pytest.fixture(scope="module")
def measured(troubled: Any) -> Fluxes:
    true = {(str(r["frame"]), str(r["name"])): float(r["flux"]) for r in troubled.truth.fluxes}
    names = {i: Path(p).name for i, p in troubled.query("select id, original_image_path from frames")}
    stars = [str(i) for i in by_role(troubled)["reference"]["gaia_id"]]
    found = {
        (frame, star): (flux / true[names[frame], star], error / true[names[frame], star])
        for frame, star, flux, error in troubled.query(
            "select frame_id, gaia_id, flux, flux_uncertainty from star_flux_in_frame"
        )
        if star in stars
    }
    rows = troubled.query("select frame_id, coefficient, coefficient_uncertainty from normalization_coefficients")
    assert len(found) == len(stars) * FRAMES == len(stars) * len(rows)
    both = np.array([[found[frame, star] for star in stars] for frame, *_ in rows])
    scatter = dict(troubled.query("select gaia_id, intrinsic_scatter from star_levels"))
    coefficient = np.array([row[1:] for row in rows])
    return Fluxes(both[..., 0], both[..., 1], *coefficient.T, np.array([scatter[star] for star in stars]))


def test_the_others_are_measured_as_if_nothing_were(troubled: Any, measured: Fluxes) -> None:
    chi2 = np.array(troubled.query("select chi2 from PSFs")).ravel()
    assert len(chi2) == FRAMES
    assert chi2.min() > 0.85
    assert chi2.max() < 1.1
    normalised = measured.ratio / measured.coefficient[:, None]
    level = np.median(normalised, axis=0)
    sigma = np.hypot(measured.error / measured.ratio, measured.intrinsic)
    pull = (normalised / level - 1) / sigma * np.sqrt(FRAMES / (FRAMES - 1))  # a level a star is divided out
    # 15 stars in 8 frames tell a standard deviation to 7 %; the coefficients take a frame's mean out, 1 in 15
    assert 0.75 < np.std(pull) < 1.25
    assert np.abs(pull).max() < 4.5
    # Levels are true relative to each other within their errors and 3 mmag (the stamps' edges cut a PSF that changes
    # over the field).
    error = np.sqrt(np.mean(sigma**2, axis=0) / FRAMES)
    assert np.std((level / np.median(level) - 1) / np.hypot(error, 0.003)) < 1.6


def test_the_variable_has_next_to_no_weight(measured: Fluxes) -> None:
    """One of the brightest stars varies by 0.4 mag peak to peak, and the coefficients follow the good stars alone."""
    weight = (measured.ratio / measured.error) ** 2
    transparency = np.sum(weight * measured.ratio, axis=1) / weight.sum(axis=1)
    ratio = measured.coefficient / transparency
    error = measured.coefficient_error / measured.coefficient
    assert error.max() < 0.004
    # The same fluxes make both; only what others add to the ensemble can set them apart.
    assert np.abs(ratio / np.median(ratio) - 1).max() < 1.0 * error.max()


def test_a_new_frame_changes_no_verdict(troubled: Any) -> None:
    before = troubled.query("select frame_id, gaia_id, comment from stars_in_frames order by 1, 2")
    extend_campaign(troubled.folder, 1)
    report = {s["name"]: s["done"] for s in troubled.run_json("--stop", "star_photometry")["stages"]}
    assert report["stamp_extraction"] == report["psf_modeling"] == 1
    assert report["star_photometry"] == 2  # with what its group chooses
    after = troubled.query("select frame_id, gaia_id, comment from stars_in_frames order by 1, 2")
    assert after[: len(before)] == before


def test_status_tells_of_them(troubled: Any) -> None:
    told = troubled.lcf("status", troubled.project).out
    assert "reference stars: " in told
    assert "saturated in " in told
    stars = {s["name"]: s for s in troubled.status()["stars"]}
    assert sum("edge" in s["verdicts"] for s in stars.values()) == 1


def test_the_report_tells_of_them(troubled: Any) -> None:
    ended = troubled.lcf("report", troubled.project)
    assert ended.code == 0, ended.err
    page = (troubled.folder / "report" / "index.html").read_text()
    assert "what speaks against it" in page
    assert "extended: it is wider than the frame&#39;s other stars, in" in page
    assert "variable: scatters by" in page
