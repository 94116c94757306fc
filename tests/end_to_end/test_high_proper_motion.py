"""A star that moves by arcsec a year: its light curve over two years, by its proper motion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcframework.sky.geometry import julian_year
from lcframework.testing.campaign import read_truth, simulate_campaign

pytestmark = pytest.mark.slow
PMRA, PMDEC, MAGNITUDE = 3900.0, -2600.0, 18.6  # mas/yr
HOURS = 8766.0  # a year


def test_a_star_keeps_its_brightness_where_its_motion_is_known(
    tmp_path: Path, campaign_in: Callable[[Path], Any]
) -> None:
    pytest.importorskip("galsim")
    simulate_campaign(
        tmp_path, seed=7, frames=4, size=400, stars=12, saturated_stars=0, faint_stars=4, field_galaxies=0,
        target="single", lens_galaxies=0, variation=0.0, cadence=320.0, exptime=60.0,
        target_motion=(PMRA / 1000 / HOURS, PMDEC / 1000 / HOURS),
    )  # fmt: skip
    fluxes = read_truth(tmp_path).fluxes
    first = next(row["mjd"] for row in fluxes if row["frame"] == "quad_0000.fits")
    assert np.ptp(fluxes["mjd"]) > 700
    campaign = campaign_in(tmp_path)
    campaign.edit(
        "exclusion_radius = 3.5",
        f'ephemeris = "proper_motion"\n[roi.QUAD.proper_motion]\npmra = {PMRA}\npmdec = {PMDEC}\n'
        f"ref_epoch = {julian_year(first):.8f}",
    )
    campaign.append('workers = 1\n[roi_model]\nplugin = "joint"\n[psf]\nstars = 6')
    assert campaign.run().code == 0
    curve = campaign.curve()
    assert len(curve) == 4
    pulls = (curve["A_mag"] - MAGNITUDE) / np.hypot(curve["A_d_mag_up"], curve["zeropoint_error"])
    assert np.abs(pulls).max() < 4.0
    assert campaign.query("select max(trail) < 0.001 from rois_in_frames") == [(1,)]
    places = campaign.query("select r.x, r.y from rois_in_frames r join frames f on f.id = r.frame_id order by f.mjd")
    fluxes.sort("mjd")
    true = fluxes[fluxes["kind"] == "target"]
    np.testing.assert_allclose(places, np.stack([true["x"], true["y"]], axis=1), atol=1.0)
