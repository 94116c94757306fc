"""A telescope that nobody has heard of: its project file says what is looked at, and nothing of how."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from lcframework.testing.campaign import CampaignSettings, evaluate_light_curves, simulate_campaign, untuned_toml

FRAMES = 8
PROJECT = untuned_toml(CampaignSettings(), workers=1)


@pytest.fixture(scope="module")
def untuned(tmp_path_factory: pytest.TempPathFactory, lcf: Callable[..., Any]) -> tuple[Path, Any]:
    """Return the folder of undersampled frames without a gain in their headers, and how its run ended."""
    pytest.importorskip("galsim")
    folder = tmp_path_factory.mktemp("untuned") / "small-telescope"
    simulate_campaign(
        folder, seed=4, frames=FRAMES, size=500, pixel_scale=1.1, seeing=(1.8, 2.6), stars=40, saturated_stars=3,
        faint_stars=60, field_galaxies=4, target="single", lens_galaxies=0,
    )  # fmt: skip
    for path in (folder / "raw").glob("*.fits"):
        with fits.open(path, mode="update") as hdus:
            del hdus[0].header["GAIN"]
    (folder / "project.toml").write_text(PROJECT)
    return folder, lcf("run", folder / "project.toml")


def settings(folder: Path, lcf: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    ended = lcf("settings", folder / "project.toml", "--json")
    assert ended.code == 0, ended.err
    return {s["setting"]: s for s in json.loads(ended.out)["settings"]}


def test_the_first_run_gives_a_light_curve_near_the_photon_limit(untuned: tuple[Path, Any]) -> None:
    folder, ended = untuned
    assert ended.code == 0, ended.out + ended.err
    curve = Table.read(folder / "prepared_roi_cutouts" / "QUAD_photometry_per_epoch.csv")
    (row,) = evaluate_light_curves(folder, curve)
    assert row["epochs"] == FRAMES
    # The scatter of 8 epochs is known to 1 / sqrt(2 * 7), 27 %: three of these above a ratio of 1.
    assert row["ratio"] < 1.8
    assert 0.5 < row["pull"] < 1.8
    assert abs(row["offset"]) < 0.02  # mag: 40 stars of 10 mmag, and the stars' common scale


def test_decisions_are_near_the_truth_and_say_why(untuned: tuple[Path, Any], lcf: Callable[..., Any]) -> None:
    folder, ended = untuned
    found = settings(folder, lcf)
    assert found["header.gain"]["value"] == pytest.approx(2.5, rel=0.1)
    assert found["header.gain"]["by"] == "frames"
    assert not found["header.gain"]["frozen"]  # by 8 frames where 9 are wanted
    # 24.6 is the magnitude of 1 e-/s; the faintest have a signal-to-noise of 20 at about 2 e-/s a pixel of sky.
    assert 19.0 < found["stars.magnitude"]["value"][1] < 21.0
    assert found["stamps.star_size"]["value"] == 20
    assert found["roi_model.starred.background"]["value"] is False
    assert "decided: header.gain of VST-OmegaCAM = 2.5" in ended.out
    assert all(s["why"] for s in found.values() if s["by"] == "frames")


def test_a_second_run_has_nothing_to_do(untuned: tuple[Path, Any], lcf: Callable[..., Any]) -> None:
    folder, _ = untuned
    ended = lcf("run", folder / "project.toml", "--json")
    assert {s["name"]: s["done"] for s in json.loads(ended.out)["stages"] if s["done"]} == {}


def test_a_value_in_the_project_file_overrides_and_is_followed(
    untuned: tuple[Path, Any], lcf: Callable[..., Any]
) -> None:
    folder, _ = untuned
    path = folder / "project.toml"
    path.write_text(PROJECT + "[psf]\nstars = 8\n")
    try:
        status = json.loads(lcf("status", path, "--json").out)
        pending = {s["name"]: len(s["pending"]) for s in status["stages"] if s["pending"]}
        assert pending == {"psf_modeling": FRAMES}
        assert settings(folder, lcf)["psf.stars"]["by"] == "project file"
    finally:
        path.write_text(PROJECT)


def test_decided_again_it_comes_out_the_same(untuned: tuple[Path, Any], lcf: Callable[..., Any]) -> None:
    folder, _ = untuned
    before = settings(folder, lcf)["psf.stars"]["value"]
    assert lcf("settings", folder / "project.toml", "--again", "psf.stars").code == 0
    assert settings(folder, lcf)["psf.stars"]["by"] == "documentation"
    ended = lcf("run", folder / "project.toml", "--json")
    assert {s["name"]: s["done"] for s in json.loads(ended.out)["stages"] if s["done"]} == {}
    assert settings(folder, lcf)["psf.stars"]["value"] == before


def test_an_unknown_setting_is_refused_with_the_nearest(untuned: tuple[Path, Any], lcf: Callable[..., Any]) -> None:
    ended = lcf("settings", untuned[0] / "project.toml", "--again", "psf.star")
    assert ended.code == 1
    assert 'did you mean "psf.stars"?' in ended.err


def test_gains_that_noise_cannot_tell_refuse_the_frames(tmp_path: Path, lcf: Callable[..., Any]) -> None:
    """Frames of one level each, a pair of which shows no slope of variance over level."""
    rng = np.random.default_rng(2)
    (tmp_path / "raw").mkdir()
    for i in range(3):
        header = fits.Header({"EXPTIME": 10.0, "DATE-OBS": f"2024-01-0{i + 1}T03:00:00"})
        image = rng.normal(1000.0, 5.0, (128, 128)).round().astype(np.uint16)
        fits.writeto(tmp_path / "raw" / f"{i}.fits", image, header)
    (tmp_path / "project.toml").write_text("[roi.T]\nra = 10.0\ndec = 20.0\n[run]\noffline = true\nworkers = 1\n")
    ended = lcf("run", tmp_path / "project.toml")
    assert ended.code == 3
    assert "the header gives no gain, and the noise of the frames does not tell it" in ended.err
    assert "set gain (e-/ADU) in [header]" in ended.err
