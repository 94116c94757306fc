"""Many frames: files in folders by night, found by the paths in the database, beside those of earlier frames."""

from __future__ import annotations

import shutil

import h5py
import pytest

from lcframework.frames import frame_folders
from lcframework.storage.frame_files import read_frame


@pytest.mark.slow
def test_later_frames_get_folders_and_earlier_ones_stay(campaign_in, unrun, tmp_path, monkeypatch, lcf):
    monkeypatch.setattr(frame_folders, "FLAT", 2)  # read where the folder is chosen: in this process, with one worker
    shutil.copytree(unrun.folder, tmp_path / "campaign")
    campaign = campaign_in(tmp_path / "campaign")
    assert campaign.run_json("--stop", "stamp_extraction")["exit_code"] == 0
    rows = campaign.query("select key, image_relpath, sources_relpath, wcs_relpath from frames order by id")
    folders = [image.removeprefix("frames/").rpartition("/")[0] for _, image, _, _ in rows]
    assert folders[:2] == ["", ""]
    assert all(len(night) == len("2024-02-29") for night in folders[2:])
    for (key, *paths), folder in zip(rows, folders, strict=True):
        where = f"frames/{folder}/{key}" if folder else f"frames/{key}"
        assert paths == [f"{where}.fits", f"{where}_sources.fits", f"{where}.wcs"]
        assert read_frame(campaign.folder / paths[0])[0].any()
        assert len(list((campaign.folder / "regions" / folder / key).glob("stamps_*.h5"))) == 1
    with h5py.File(campaign.folder / "regions.h5") as file:
        assert [len(frame["data"]) > 1 for frame in file["frames"].values()] == [True] * 4
    assert lcf("clean", campaign.project).out == "Nothing to remove.\n"

    # A frame that is imported again stays where it is, whatever the rule says now.
    monkeypatch.setattr(frame_folders, "FLAT", 1000)
    campaign.run_json("--force", "read_convert_skysub_character_catalog", "--stop", "stamp_extraction")
    assert campaign.query("select key, image_relpath, sources_relpath, wcs_relpath from frames order by id") == rows
    assert lcf("clean", campaign.project).out == "Nothing to remove.\n"
