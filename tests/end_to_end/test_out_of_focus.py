"""A telescope out of focus: rings for stars, found whole and measured to the photon limit, with nothing tuned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from astropy.table import Table

from lcframework.testing.campaign import evaluate_light_curves, simulate_campaign, untuned_toml

pytestmark = pytest.mark.slow
FRAMES = 8


@pytest.mark.parametrize("defocus", [1.0, 2.0])  # waves: rings of 3 and 7 pixels radius
def test_rings_are_measured_like_stars(defocus: float, tmp_path: Path, lcf: Callable[..., Any]) -> None:
    pytest.importorskip("galsim")
    folder = tmp_path / "ring"
    truth = simulate_campaign(
        folder, seed=5, frames=FRAMES, size=500, seeing=(0.6, 1.0), stars=24, saturated_stars=0, faint_stars=20,
        field_galaxies=0, target="single", lens_galaxies=0, defocus=defocus,
    )  # fmt: skip
    truth.project.write_text(untuned_toml(truth.settings, workers=2))
    ended = lcf("run", truth.project)
    assert ended.code == 0, ended.out + ended.err
    curve = Table.read(folder / "prepared_roi_cutouts" / "QUAD_photometry_per_epoch.csv")
    (row,) = evaluate_light_curves(truth, curve)
    assert row["epochs"] == FRAMES
    # The scatter of 8 epochs is known to 27 %: three of these about a pull of 1.
    assert 0.4 < row["pull"] < 1.8
    assert abs(row["offset"]) < 0.03
