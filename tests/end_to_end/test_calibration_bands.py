"""A survey's magnitudes belong to their band: another band never gets them."""

from __future__ import annotations

from typing import Any

import pytest

from plugins_builtin.surveys.gaia import TRANSFORMATIONS


def magnitudes(campaign: Any) -> dict[tuple[str, str, str], tuple[float, str]]:
    rows = campaign.query("select catalog, band, gaia_id, mag, system from catalog_star_photometry")
    return {row[:3]: row[3:] for row in rows}


def zeropoint(campaign: Any) -> tuple[Any, ...]:
    return campaign.query("select catalog, catalog_band, system, zeropoint, stars from absolute_zeropoints")[0]


def calibrate(campaign: Any, old: str, new: str) -> int:
    campaign.edit(old, new)
    return int(campaign.done("--stop", "calculate_absolute_zeropoints").get("calculate_absolute_zeropoints", 0))


@pytest.mark.slow
def test_changing_the_band_asks_anew(campaign: Any) -> None:
    first = magnitudes(campaign)
    assert {key[:2] for key in first} == {("file", "r_sdss")}
    stars = {row[0]: row[1:] for row in campaign.query("select gaia_id, magnitude, bp, rp from stars")}
    file = '[calibration]\nplugin = "file"\nband = "r_sdss"'
    previous = file
    for band in ("r_sdss", "V", "B_T"):
        chosen = f'[calibration]\nplugin = "gaia"\nband = "{band}"'
        assert calibrate(campaign, previous, chosen) == 1
        previous = chosen
        found = {key[2]: value for key, value in magnitudes(campaign).items() if key[:2] == ("gaia", band)}
        assert len(found) >= 5
        relation = TRANSFORMATIONS[band]
        for star, (mag, system) in found.items():
            g, bp, rp = stars[star]
            assert mag == pytest.approx(float(relation.magnitudes(g, bp - rp)), abs=1e-6)
            assert system == relation.system
        assert zeropoint(campaign)[:3] == ("gaia", band, relation.system)
        assert zeropoint(campaign)[4] <= len(found)
    # What was known before is still there under its own name, and going back finds the first zero point again.
    after = magnitudes(campaign)
    assert {key: after[key] for key in first} == first
    before = campaign.query("select zeropoint from absolute_zeropoints")[0][0]
    assert calibrate(campaign, previous, file) == 1
    assert zeropoint(campaign)[:2] == ("file", "r_sdss")
    assert abs(zeropoint(campaign)[3] - before) > 0.1  # B_T is not r
