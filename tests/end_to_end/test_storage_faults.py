"""Storage that fails is no fault of the frames, and damaged products are noticed and made again."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

IMPORT = "read_convert_skysub_character_catalog"
#: A link to it can be listed, and not be read, by root neither: "Input/output error".
UNREADABLE = Path("/proc/self/mem")


def flip(path):
    """Flip one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def first(campaign, pattern):
    return sorted(campaign.folder.glob(pattern))[0]


def table(campaign):
    return (campaign.folder / "prepared_roi_cutouts" / "QUAD_photometry_per_epoch.csv").read_text()


def test_damaged_products_are_made_again_in_the_same_run(campaign, finished):
    stamps = first(campaign, "regions/*/stamps_*.h5")
    flip(stamps)
    wcs = sorted(campaign.folder.glob("frames/*.wcs"))[2]
    wcs.write_bytes(b"")  # a valid WCS: that of the pixels themselves
    assert campaign.pending() == {
        "plate_solving": [f"its file is damaged: {wcs.relative_to(campaign.folder)}: it is empty"]
    }
    report = campaign.run_json("--force", "psf_modeling")
    assert report["exit_code"] == 0
    done = {s["name"]: s["done"] for s in report["stages"] if s["done"]}
    assert done["plate_solving"] == 1
    assert done["stamp_extraction"] == 2
    assert IMPORT not in done
    said = "\n".join(report["repaired"])
    assert f"{stamps.relative_to(campaign.folder)} was damaged (its contents changed" in said
    assert f"its file is damaged: {wcs.relative_to(campaign.folder)}: it is empty" in said
    assert table(campaign) == table(finished)
    assert campaign.pending() == {}


def test_doctor_finds_what_no_run_would_read(campaign, finished):
    assert campaign.lcf("doctor", campaign.project, "--offline").code == 0
    image = first(campaign, "frames/quad_*[0-9].fits")
    flip(image)
    curve = campaign.folder / "prepared_roi_cutouts" / "QUAD_photometry_per_epoch.csv"
    curve.unlink()
    os.truncate(campaign.folder / "regions.h5", 1000)
    ended = campaign.lcf("doctor", campaign.project, "--offline")
    assert ended.code == 1
    assert f"damaged  frames/{image.name}: its contents changed after it was written" in ended.out
    assert f"damaged  prepared_roi_cutouts/{curve.name}: it is missing" in ended.out
    assert "damaged  regions.h5: it can't be read" in ended.out
    assert f"`lcf run {campaign.project}` makes them again" in ended.out
    assert campaign.run().code == 0
    assert table(campaign) == table(finished)
    ended = campaign.lcf("doctor", campaign.project, "--offline")
    assert ended.code == 0, ended.out


def test_doctor_on_a_database_whose_rows_refer_to_nothing(campaign):
    import sqlite3

    connection = sqlite3.connect(campaign.folder / "database.sqlite3")
    connection.execute("delete from frames where id = 2")
    connection.commit()
    connection.close()
    ended = campaign.lcf("doctor", campaign.project, "--offline")
    assert ended.code == 1
    assert "1 rows of footprints refer to rows of frames that are not there (frame_id)" in ended.out


@pytest.mark.skipif(not UNREADABLE.exists(), reason="needs a file that can be listed and not read")
def test_raw_files_that_can_not_be_read_now(fresh):
    raw = fresh.raw
    aside = {path: path.rename(fresh.folder / path.name) for path in raw}
    for path in raw:
        path.symlink_to(UNREADABLE)
    ended = fresh.run("--stop", IMPORT)
    assert ended.code == 1
    assert f"4 of 4 inputs of {IMPORT} could not be read ({raw[0].name}: Input/output error" in ended.err
    # One of them only: the others are imported.
    for path in raw[1:]:
        path.unlink()
        aside[path].rename(path)
    ended = fresh.run()
    assert ended.code == 1  # the scale of the fluxes would rest on what happened to be there
    assert "1 inputs could not be read; the next run tries again" in ended.err
    assert "lcf exclude" in ended.err
    states = fresh.frames()
    assert states[raw[0].name][0] == "found"
    assert states[raw[0].name][1].startswith("could not be read: Input/output error")
    assert "could not be read" in fresh.lcf("status", fresh.project).out
    assert {state for name, (state, _) in states.items() if name != raw[0].name} == {"imported"}
    raw[0].unlink()
    aside[raw[0]].rename(raw[0])
    assert fresh.done("--stop", IMPORT) == {IMPORT: 1}
    assert set(fresh.frames().values()) == {("imported", "")}


def test_raw_folder_that_is_away(campaign):
    assert campaign.run().code == 0  # finds the files where they are now
    (campaign.folder / "raw").rename(campaign.folder / "aside")
    ended = campaign.run()
    assert ended.code == 1
    assert "4 frames are known" in ended.err
    assert "mount the drive" in ended.err
    status = campaign.lcf("status", campaign.project)
    assert "This is what was recorded. What is out of date can't be told, because:" in status.out
    assert "mount the drive" in status.out
    assert "4 files: 4 used" in status.out
    assert "model_calibrated_cutouts" in status.out
    assert "mount the drive" in campaign.status()["absent"][0]
    assert campaign.query("select count(*) from frames where eliminated") == [(0,)]
    (campaign.folder / "aside").rename(campaign.folder / "raw")
    assert "Nothing to do" in campaign.run().out


def test_full_disk_stops_the_run_and_publishes_nothing(fresh):
    """Files of half a frame's size at most: the system says so as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, before[1]))
    try:
        ended = fresh.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ended.code == 1
    assert "No space left on device" in ended.err
    assert "free disk space for the workdir" in ended.err
    assert "Traceback" not in ended.err
    assert not list(fresh.folder.glob("frames/*.fits"))
    assert not list(fresh.folder.rglob("*.tmp"))
    assert fresh.query("select count(*) from products where state != 'made'") == [(0,)]
    assert fresh.done("--stop", IMPORT) == {IMPORT: 4}
