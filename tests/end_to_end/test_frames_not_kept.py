"""Imported frames that are not kept: they go, and come back where a stage reads them, and nothing else changes."""

from __future__ import annotations

import h5py
import numpy as np
from astropy.io import fits

FRAMES = 4


def imported(campaign) -> list[str]:
    files = (campaign.folder / "frames").rglob("quad_*.fits")
    return sorted(path.name for path in files if not path.name.endswith("_sources.fits"))


def stamps(campaign) -> dict[str, np.ndarray]:
    out = {}
    with h5py.File(campaign.folder / "regions.h5") as file:
        for key, frame in file["frames"].items():
            for kind in ("data", "noisemap", "mask"):
                out |= {f"{key} {kind} {name}": values[()] for name, values in frame[kind].items()}
    return out


def test_they_go_and_are_made_again_where_they_are_read(campaign):
    before, kept = stamps(campaign), imported(campaign)
    frame = next((campaign.folder / "frames").rglob(kept[0]))
    pixels, header = fits.getdata(frame, "IMAGE"), fits.getheader(frame, "IMAGE")
    campaign.edit("[frames]\n", "[frames]\nkeep_imported = false\n")
    assert campaign.done() == {}
    assert imported(campaign) == []
    assert campaign.pending() == {}
    assert campaign.done() == {}

    # Each stage that reads them finds them, equal to what they were.
    assert campaign.done("--force", "stamp_extraction", "--stop", "stamp_extraction") == {"stamp_extraction": FRAMES}
    assert imported(campaign) == []
    after = stamps(campaign)
    assert after.keys() == before.keys()
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values)

    # Kept again, they are imported again, with the pixels that they had.
    campaign.edit("keep_imported = false", "keep_imported = true")
    done = campaign.done("--stop", "stamp_extraction")
    assert done["read_convert_skysub_character_catalog"] == FRAMES
    assert imported(campaign) == kept
    np.testing.assert_array_equal(fits.getdata(frame, "IMAGE"), pixels)
    assert fits.getheader(frame, "IMAGE")["CRVAL1"] == header["CRVAL1"]
    for name, values in stamps(campaign).items():
        np.testing.assert_array_equal(values, before[name])


def test_without_the_raw_file_the_run_stops_and_loses_nothing(campaign):
    campaign.edit("[frames]\n", "[frames]\nkeep_imported = false\n")
    campaign.done()
    before, raw = stamps(campaign), campaign.raw[0]
    text = raw.read_bytes()
    raw.write_bytes(text[:4000])
    stopped = campaign.run_json("--start", "stamp_extraction", "--force", "stamp_extraction")
    assert stopped["exit_code"] == 1
    assert "not kept, and out of date" in stopped["message"]
    assert stamps(campaign).keys() == before.keys()
    raw.write_bytes(text)
    assert campaign.run_json("--stop", "stamp_extraction")["exit_code"] == 0
    for name, values in stamps(campaign).items():
        np.testing.assert_array_equal(values, before[name])
    assert imported(campaign) == []
