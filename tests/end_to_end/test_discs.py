"""A campaign on a single star, measured in discs from the comparison stars to the light curve."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcframework.testing.campaign import evaluate_light_curves, simulate_campaign

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "photometry-aperture" not in {e.name for e in entry_points(group="lcframework")},
        reason="the package was installed before these plugins were added",
    ),
]
FRAMES = 20


@pytest.fixture(scope="module")
def in_discs(tmp_path_factory: pytest.TempPathFactory, campaign_in: Callable[[Path], Any]) -> Any:
    """Return a finished campaign whose stars and target were measured in discs."""
    pytest.importorskip("galsim")
    folder = tmp_path_factory.mktemp("discs") / "campaign"
    simulate_campaign(
        folder, seed=8, frames=FRAMES, size=440, stars=14, saturated_stars=0, faint_stars=10, field_galaxies=1,
        target="single", lens_galaxies=0, cadence=1.0,
    )  # fmt: skip
    campaign = campaign_in(folder)
    campaign.append('workers = 1\n[photometry]\nplugin = "aperture"\n[roi_model]\nplugin = "aperture"')
    ended = campaign.run()
    assert ended.code == 0, ended.out + ended.err
    return campaign


def test_the_light_curve_is_that_of_the_truth(in_discs: Any) -> None:
    (row,) = evaluate_light_curves(in_discs.folder, in_discs.curve())
    assert row["epochs"] == FRAMES
    assert 0.7 < row["pull"] < 1.3
    assert abs(row["offset"]) < 0.02
    assert row["ratio"] < 1.5  # of the photon limit, which knows PSF, place and sky
    assert in_discs.query("select kind from doubts where kind like 'disc%'") == []


def test_the_comparison_stars_have_true_errors_and_chose_the_radius(in_discs: Any) -> None:
    residuals = np.array(in_discs.query("select residual, residual_error from star_residuals where used"))
    assert 0.85 < np.std(residuals[:, 0] / residuals[:, 1]) < 1.15
    ((value, why),) = in_discs.query("select value, why from settings where setting = 'photometry.aperture.radius'")
    assert 1.0 <= float(value) <= 2.0
    assert "comparison stars scatter by" in why
    assert in_discs.query("select count(*) from estimator_weights") == [(0,)]


def test_another_radius_measures_stars_and_target_again(in_discs: Any) -> None:
    before = in_discs.curve()
    in_discs.append("[photometry.aperture]\nradius = 1.3")
    done = in_discs.done()
    assert done["star_photometry"] == FRAMES
    assert done["model_calibrated_cutouts"] == 2
    after = in_discs.curve()
    # Total fluxes: another disc changes their noise, not their level.
    ratio = np.asarray(after["A_flux"]) / np.asarray(before["A_flux"])
    assert np.median(ratio) == pytest.approx(1.0, abs=0.005)
    assert not np.allclose(ratio, 1.0, atol=1e-5)
