"""Every kind of raw file that can't be used, all in one folder: each gets its reason, the rest goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.io import fits

ELIMINATED = {
    "truncated.fits": "is truncated: its image of 520 x 520 pixels is not all there",
    "no_image.fits": "has no two-dimensional image in HDU 0; HDUs with one: none",
    "text.fits": "can't be read as FITS",
    "empty.fits": "can't be read as FITS",
    "all_nan.fits": "holds no finite pixel",
    "constant.fits": "every pixel is blank, saturated or on a bad line",
    "zero_exposure.fits": "EXPTIME = 0.0",
    "no_gain.fits": "the header gives no gain, and the noise of the frames does not tell it",
    "bad_date.fits": "yesterday",
    "cube.fits": "has no two-dimensional image in HDU 0",
}


def edited(source: Path, target: Path, **cards: object) -> None:
    """Copy a frame; a card that is None is removed."""
    with fits.open(source) as hdus:
        data, header = hdus[0].data.copy(), hdus[0].header.copy()
    for key, value in cards.items():
        if value is None:
            del header[key]
        else:
            header[key] = value
    fits.PrimaryHDU(data, header).writeto(target)


def write_hostile(raw: Path, source: Path, other: Path) -> None:
    """Write one of each into a folder."""
    whole = source.read_bytes()
    (raw / "truncated.fits").write_bytes(whole[: len(whole) // 2])
    (raw / "text.fits").write_text("The night was cloudy.\n" * 200)
    (raw / "empty.fits").write_bytes(b"")
    fits.PrimaryHDU(header=fits.Header({"EXPTIME": 10.0})).writeto(raw / "no_image.fits")
    header = fits.getheader(source)
    shape = (header["NAXIS2"], header["NAXIS1"])
    fits.PrimaryHDU(np.full(shape, np.nan, np.float32), header).writeto(raw / "all_nan.fits")
    fits.PrimaryHDU(np.full(shape, 500, np.int16), header).writeto(raw / "constant.fits")
    fits.PrimaryHDU(np.zeros((3, *shape), np.int16), header).writeto(raw / "cube.fits")
    fits.PrimaryHDU(np.arange(4.0, dtype=np.float32).reshape(2, 2), header).writeto(raw / "tiny.fits")
    edited(source, raw / "zero_exposure.fits", EXPTIME=0.0)
    edited(source, raw / "no_gain.fits", GAIN=None)
    edited(source, raw / "bad_date.fits", **{"DATE-OBS": "yesterday", "MJD-OBS": None})
    edited(source, raw / "misses_roi.fits", CRVAL1=header["CRVAL1"] + 1.0)
    edited(source, raw / "elsewhere.fits", CRVAL1=header["CRVAL1"] + 180.0, CRVAL2=-header["CRVAL2"])
    edited(source, raw / "no_wcs.fits", CTYPE1=None, CTYPE2=None, CRVAL1=None, CRVAL2=None)
    edited(source, raw / "wrong_scale.fits", CDELT1=header["CDELT1"] * 3, CDELT2=header["CDELT2"] * 3)
    with fits.open(other) as hdus:
        data, header = hdus[0].data[20:, 30:].copy(), hdus[0].header.copy()
    header["CRPIX1"], header["CRPIX2"] = header["CRPIX1"] - 30, header["CRPIX2"] - 20
    fits.PrimaryHDU(data, header).writeto(raw / "other_size.fits")


@pytest.fixture(scope="module")
def hostile(finished, tmp_path_factory):
    """Return a finished campaign that met one of each, and how that run ended."""
    folder = tmp_path_factory.mktemp("hostile") / "campaign"
    shutil.copytree(finished.folder, folder)
    campaign = type(finished)(folder, finished.lcf)
    write_hostile(folder / "raw", campaign.raw[0], campaign.spare[0])
    (folder / "raw2").mkdir()
    shutil.copy2(campaign.spare[1], folder / "raw2" / finished.raw[0].name)
    campaign.edit('raw_dirs = ["raw"]', 'raw_dirs = ["raw", "raw2"]')
    campaign.edit("[plate_solving]", "[plate_solving]\nmin_success_fraction = 0.5")
    return campaign, campaign.run()


def test_the_run_goes_on_and_says_so(hostile):
    campaign, ended = hostile
    assert ended.code == 3, ended.out + ended.err
    assert "Traceback" not in ended.out + ended.err
    for name in ELIMINATED:
        assert name in ended.err
    # 4 as before, one of another size, and one of a known name in another folder.
    assert len(campaign.curve()) == 6
    assert (np.isfinite(campaign.curve()["A_flux"])).all()


@pytest.mark.parametrize("name", ELIMINATED)
def test_reason_of_a_file_that_cannot_be_imported(hostile, name):
    campaign, _ = hostile
    state, comment = campaign.frames()[name]
    assert state == "eliminated"
    assert ELIMINATED[name] in comment


@pytest.mark.parametrize("name", ["misses_roi.fits", "elsewhere.fits", "tiny.fits"])
def test_frame_that_misses_the_region_is_set_aside(hostile, name):
    campaign, _ = hostile
    assert campaign.frames()[name] == ("set aside", "contains no region of interest")
    (row,) = campaign.query(
        f"select plate_solved, roi_in_footprint, eliminated from frames where original_image_path like '%/{name}'"
    )
    assert row == (1, 0, 0)


@pytest.mark.parametrize(("name", "words"), [("no_wcs.fits", "no CTYPE1"), ("wrong_scale.fits", "pixel_scale")])
def test_frame_that_does_not_solve(hostile, name, words):
    campaign, _ = hostile
    state, comment = campaign.frames()[name]
    assert state == "not solved"
    assert words in comment
    assert not comment.startswith("not solved")


def test_every_file_has_its_row(hostile):
    campaign, _ = hostile
    assert len(campaign.status()["frames"]) == len(campaign.raw) + 1
    text = campaign.lcf("status", campaign.project).out
    for name in [*ELIMINATED, "misses_roi.fits", "no_wcs.fits"]:
        assert f"  {name}: " in text


def test_two_files_of_one_name_are_two_frames(hostile):
    campaign, _ = hostile
    (name,) = {p.name for p in (campaign.folder / "raw2").iterdir()}
    rows = campaign.query(
        f"select key, image_relpath, roi_in_footprint from frames where original_image_path like '%{name}'"
    )
    assert len(rows) == 2
    assert all(used for *_, used in rows)
    assert len({key for key, *_ in rows}) == len({path for _, path, _ in rows}) == 2
    with h5py.File(campaign.folder / "regions.h5") as file:
        first, second = (file[f"frames/{key}/data/ROI"][()] for key, *_ in rows)
    assert not np.allclose(first, second)


def test_frame_of_another_size_agrees(hostile):
    """The same sky, cut 30 and 20 pixels smaller, gives the same fluxes."""
    campaign, _ = hostile
    curve = campaign.curve()
    row = curve[curve["frame_id"] == campaign.query("select id from frames where key = 'other_size'")[0][0]]
    truth = campaign.truth.fluxes
    truth = truth[truth["frame"] == campaign.spare[0].name]
    for name in ("A", "B"):
        ratios = []
        for epoch in curve:
            near = campaign.truth.fluxes[campaign.truth.fluxes["name"] == name]
            match = near[np.argmin(np.abs(near["mjd"] - epoch["mjd"]))]
            ratios.append(epoch[f"{name}_flux"] / match["flux"])
        mine = float(row[f"{name}_flux"][0] / truth["flux"][truth["name"] == name][0])
        assert abs(mine / np.median(ratios) - 1) < 4 * float(row[f"{name}_d_flux"][0] / row[f"{name}_flux"][0])


def test_next_run_does_nothing_then_takes_what_was_mended(hostile):
    campaign, _ = hostile
    report = campaign.run_json()
    assert report["exit_code"] == 3
    assert not any(s["done"] for s in report["stages"])
    assert {u["unit"] for u in report["unusable"]} >= set(ELIMINATED)
    # The file arrives whole.
    edited(campaign.spare[0], campaign.folder / "whole.fits", OBSERVER="nobody")
    (campaign.folder / "whole.fits").replace(campaign.folder / "raw" / "truncated.fits")
    done = campaign.done()
    assert done["read_convert_skysub_character_catalog"] == 1
    assert done["stamp_extraction"] == 1
    assert campaign.frames()["truncated.fits"] == ("used", "")


def test_too_few_solved_frames_stop_the_run(hostile):
    campaign, _ = hostile
    campaign.edit("min_success_fraction = 0.5", "min_success_fraction = 0.95")
    ended = campaign.run("--force", "plate_solving")
    assert ended.code == 1
    assert "min_success_fraction = 0.95" in ended.err
    assert "lcf status" in ended.err
