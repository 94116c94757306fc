"""A region that is added to a finished project, and taken out again, costs its own work alone."""

from __future__ import annotations

import re

import h5py
import pytest

STAGES = "('query_gaia_for_stars', 'stamp_extraction', 'psf_modeling', 'star_photometry', " \
         "'calculate_normalization_coefficient', 'prepare_calibrated_cutouts', 'model_calibrated_cutouts')"  # fmt: skip
FRAMES = 4


def tokens(campaign) -> dict[str, str]:
    return dict(campaign.query(f"select stage || ' ' || unit, token from products where stage in {STAGES}"))


def stamps(campaign) -> dict[str, set[str]]:
    with h5py.File(campaign.folder / "regions.h5") as file:
        return {key: set(frame["data"]) for key, frame in file["frames"].items()}


@pytest.mark.slow
def test_only_what_is_of_the_region_is_made(campaign):
    text, before, curve, names = campaign.project.read_text(), tokens(campaign), campaign.curve(), stamps(campaign)
    dec = float(re.search(r"dec = (\S+)", text)[1]) + 20 / 3600
    ra = float(re.search(r"ra = (\S+)", text)[1])
    campaign.append(f"[roi.NEW]\nra = {ra}\ndec = {dec}\n[roi.NEW.point_sources]\nA = [{ra}, {dec}]")
    done = campaign.done()
    assert done["stamp_extraction"] == done["psf_modeling"] == FRAMES
    assert done["star_photometry"] == FRAMES + 1  # and how the new field's fluxes are combined
    assert done["calculate_normalization_coefficient"] == done["prepare_calibrated_cutouts"] == 1
    after = tokens(campaign)
    assert {unit: after[unit] for unit in before} == before
    assert repr(campaign.curve().as_array().tolist()) == repr(curve.as_array().tolist())  # also where it has nan
    assert all(there >= names[key] | {"NEW"} for key, there in stamps(campaign).items())
    # Where a star serves both, its stamp is one and the same.
    with h5py.File(campaign.folder / "regions.h5") as file:
        frame = next(iter(file["frames"].values()))
        assert frame["data/QUAD"].shape == frame["data/ROI"].shape == frame["data/NEW"].shape
        assert (frame["data/QUAD"][()] == frame["data/ROI"][()]).all()
        assert set(frame["data"]) == set(frame["wcs"]) == set(frame["mask"]) == set(frame["noisemap"])
    campaign.project.write_text(text)
    assert "stamp_extraction" not in campaign.done()
    assert tokens(campaign).items() >= before.items()
    assert stamps(campaign) == names
    files = {p.name for p in (campaign.folder / "regions").glob("*/stamps_*.h5")}
    assert len(files) == FRAMES
