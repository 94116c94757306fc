"""Which stars each strategy selects, against the catalogue and the frames' true pointings; letters for good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from lcframework.testing.campaign import simulate_campaign

FRAMES = 4
ROI = SkyCoord(150.1137, -28.3052, unit="deg")
LIMITS = (16.0, 20.6)


@pytest.fixture(scope="module")
def dithered(tmp_path_factory: pytest.TempPathFactory, campaign_in: Callable[[Path], Any]) -> Any:
    """Return a campaign whose frames cover different parts of the sky; the last one is held back."""
    pytest.importorskip("galsim")
    folder = tmp_path_factory.mktemp("selection") / "campaign"
    simulate_campaign(
        folder, seed=5, frames=FRAMES, size=400, stars=30, saturated_stars=0, faint_stars=150, field_galaxies=3,
        target="single", dither=14.0, wcs_error=0.0, refraction=0.0,
    )  # fmt: skip
    (folder / "spare").mkdir()
    held = max((folder / "raw").glob("*.fits"))
    held.rename(folder / "spare" / held.name)
    campaign = campaign_in(folder)
    campaign.edit("magnitude = [16.0, 20.0]", f"magnitude = [{LIMITS[0]}, {LIMITS[1]}]\nmin_number = 2")
    campaign.append("workers = 1")
    return campaign


def select(campaign: Any, strategy: str, radius: float = 30.0) -> None:
    text = campaign.project.read_text().splitlines()
    text = [line for line in text if not line.startswith(("strategy", "radius = "))]
    at = text.index("[stars]") + 1
    campaign.project.write_text("\n".join([*text[:at], f'strategy = "{strategy}"', f"radius = {radius}", *text[at:]]))
    ended = campaign.run("--stop", "query_gaia_for_stars")
    assert ended.code == 0, ended.out + ended.err


def catalogue(campaign: Any) -> Table:
    """Return the catalogue's stars within the limits, and how far each is inside each frame, pixels."""
    table = Table.read(campaign.folder / "stars.ecsv")
    table["separation"] = SkyCoord(table["ra"], table["dec"], unit="deg").separation(ROI).arcsec
    keep = (table["phot_g_mean_mag"] >= LIMITS[0]) & (table["phot_g_mean_mag"] <= LIMITS[1])
    keep &= (table["astrometric_excess_noise"] <= 3.0) & (table["separation"] > 3.5)
    table = table[keep]
    for path in campaign.raw:
        header = fits.getheader(path)
        years = (header["MJD-OBS"] - 57388.5) / 365.25
        dec = table["dec"] + years * np.nan_to_num(table["pmdec"]) / 3.6e6
        ra = table["ra"] + years * np.nan_to_num(table["pmra"]) / 3.6e6 / np.cos(np.radians(dec))
        x, y = WCS(header).all_world2pix(ra, dec, 0)
        table[path.name] = np.minimum.reduce([x, y, 399 - x, 399 - y])
    return table


def selected(campaign: Any) -> set[str]:
    rows = campaign.query(
        "select gaia_id from stars s join combined_footprint f on f.hash = s.combined_footprint_hash"
        " where s.active and f.active"
    )
    return {row[0] for row in rows}


def in_frames(campaign: Any) -> dict[str, set[str]]:
    rows = campaign.query(
        "select original_image_path, gaia_id from stars_in_frames s join frames f on f.id = s.frame_id"
        " join combined_footprint c on c.hash = s.combined_footprint_hash where c.active"
    )
    out: dict[str, set[str]] = {}
    for path, star in rows:
        out.setdefault(Path(path).name, set()).add(star)
    return out


def letters(campaign: Any) -> dict[str, str]:
    """Return every letter ever given, by star; one star has one letter, one letter one star."""
    found: dict[str, str] = {}
    for star, name in campaign.query("select gaia_id, name from stars"):
        assert found.setdefault(star, name) == name
    assert len(set(found.values())) == len(found)
    return found


def names(table: Table, where: Any) -> set[str]:
    return {str(i) for i in table["source_id"][where]}


@pytest.mark.slow
def test_every_strategy_before_and_after_a_new_frame(dithered: Any) -> None:
    """One test: the database remembers the letters of each step."""
    clear = 4.0  # pixels: proper motion and rounding decide nearer to an edge
    before: dict[str, str] = {}
    for step in ("three frames", "four frames"):
        table = catalogue(dithered)
        inside = np.array([table[p.name] for p in dithered.raw])

        select(dithered, "roi_disk", 30.0)
        assert selected(dithered) == names(table, table["separation"] < 30.0)
        assert names(table, table["separation"] < 30.0) != names(table, table["separation"] < 25.0)
        for name, stars in in_frames(dithered).items():
            assert names(table, (table[name] > clear) & (table["separation"] < 30.0)) <= stars
            assert stars <= names(table, table[name] > 2.0)
        assert letters(dithered) | before == letters(dithered)
        before = letters(dithered)
        if step == "three frames":
            near = table[table["separation"] < 30.0]
            near.sort("separation")
            order = sorted(before.values(), key=lambda name: (len(name), name))
            assert [before[str(i)] for i in near["source_id"]] == order  # by distance

        select(dithered, "common_footprint")
        everywhere, nowhere = names(table, (inside > clear).all(0)), names(table, (inside < -clear).any(0))
        assert everywhere <= selected(dithered)
        assert not nowhere & selected(dithered)
        assert nowhere
        assert letters(dithered) | before == letters(dithered)
        before = letters(dithered)

        select(dithered, "per_frame")
        somewhere, never = names(table, (inside > clear).any(0)), names(table, (inside < -clear).all(0))
        assert somewhere <= selected(dithered)
        assert not never & selected(dithered)
        assert somewhere > everywhere
        for name, stars in in_frames(dithered).items():
            assert names(table, table[name] > clear) <= stars <= names(table, table[name] > 2.0)
        assert letters(dithered) | before == letters(dithered)
        before = letters(dithered)

        for path in dithered.spare:
            path.rename(dithered.folder / "raw" / path.name)
    # A disk that stays, and two polygons before and after.
    assert dithered.query("select count(distinct combined_footprint_hash) from stars")[0][0] == 5


def test_too_few_stars_say_what_to_change(dithered: Any) -> None:
    dithered.edit("min_number = 2", "min_number = 50")
    ended = dithered.run("--stop", "query_gaia_for_stars")
    assert ended.code == 3
    told = ended.out + ended.err
    assert "min_number = 50" in told
    assert "Widen radius" in told
