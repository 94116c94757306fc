"""`lcf headers`: groups, gain from noise, times, and skeletons that work, on frames of known truth."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from lcframework.frames.header_cards import read_text_time, time_cards
from lcframework.frames.photon_transfer import halves, measure_gain
from lcframework.header_doctor import default_parsers, examine
from lcframework.header_doctor.gain import gain_verdict
from lcframework.plugins import Plugins

GAIN, READ_NOISE, PEDESTAL = 2.0, 8.0, 300.0  # e-/ADU, e-, ADU


def image(rng: np.random.Generator, sky: float, shape: tuple[int, int] = (256, 320), stars: int = 30) -> np.ndarray:
    """Return a frame in ADU of a sky in e- that tilts by half, with stars of any brightness at new places."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    light = sky * (0.75 + 0.5 * x / shape[1])
    for cx, cy, flux in zip(rng.uniform(0, shape[1], stars), rng.uniform(0, shape[0], stars),
                            10 ** rng.uniform(2, 5, stars), strict=True):  # fmt: skip
        light += flux / (2 * np.pi * 4) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 8)
    electrons = rng.poisson(light) + rng.normal(0, READ_NOISE, shape)
    return np.clip(np.round(electrons / GAIN + PEDESTAL), 0, 65535).astype(np.uint16)


def write(folder: Path, name: str, data: np.ndarray, **cards: Any) -> Path:
    header = fits.Header()
    for key, value in cards.items():
        header[key.replace("_", "-")] = value
    path = folder / name
    fits.PrimaryHDU(data, header).writeto(path)
    return path


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """Return a folder with six frames of one camera, 100 s apart, exposed 60 s."""
    rng = np.random.default_rng(11)
    folder = tmp_path / "raw"
    folder.mkdir()
    for i in range(6):
        write(
            folder, f"a{i}.fits", image(rng, 400.0 + 150.0 * i), EXPTIME=60.0, GAIN=GAIN, FILTER="r", INSTRUME="Cam",
            DATE_OBS=f"2024-03-01T02:{i * 100 // 60:02d}:{i * 100 % 60:02d}",
        )  # fmt: skip
    return folder


def only(folder: Path, **options: Any) -> Any:
    groups = examine(folder, "*.fits", default_parsers(Plugins.installed(), folder), **options)
    assert len(groups) == 1
    return groups[0]


# ---------------------------------------------------------------- gain


def test_the_gain_comes_out_of_the_noise(night: Path) -> None:
    group = only(night)
    assert group.gain.gain == pytest.approx(GAIN, abs=0.05 * GAIN + 3 * group.gain.error)
    assert group.gain_verdict.endswith("agrees")
    assert group.gain.pairs == 5


def test_the_gain_of_one_frame(night: Path) -> None:
    for path in sorted(night.glob("*.fits"))[1:]:
        path.unlink()
    group = only(night)
    assert group.gain.pairs == 1
    # A single frame spans half of its sky: the error must cover what is missed.
    assert abs(group.gain.gain - GAIN) < 0.05 * GAIN + 4 * group.gain.error


@pytest.mark.parametrize("wrong", [1.0, 4.0])
def test_a_wrong_gain_is_found(night: Path, wrong: float) -> None:
    for path in night.glob("*.fits"):
        fits.setval(path, "GAIN", value=wrong)
    group = only(night)
    assert group.gain_verdict.startswith("CHECK")
    assert f"the header gives {wrong:g}" in group.gain_verdict
    assert "a factor 1.4" in group.gain_verdict


def test_levels_that_do_not_differ_say_nothing() -> None:
    rng = np.random.default_rng(2)
    a, b = (np.round(rng.normal(500.0, 5.0, (256, 256))) for _ in range(2))
    measured = measure_gain([(a, b)])
    assert not np.isfinite(measured.gain)
    assert "differ too little" in measured.reason
    assert measured.noise == pytest.approx(5.0, rel=0.03)


def test_the_gain_of_frames_that_were_resampled() -> None:
    """Half-way between pixels: each has a quarter of its variance, and sums have it all."""
    rng = np.random.default_rng(12)
    level = np.linspace(500.0, 4000.0, 480)[:, None] * np.ones(480)

    def exposed() -> np.ndarray:
        image = rng.poisson(GAIN * level) / GAIN + 300.0
        return (image[1:, 1:] + image[:-1, 1:] + image[1:, :-1] + image[:-1, :-1]) / 4

    found = measure_gain([(exposed(), exposed()) for _ in range(3)], whole_numbers=False)
    # Squares of four pixels have 3.06 of the 4 times that larger sums have, and a plane less.
    assert found.shared == pytest.approx(3.06 * 0.95 / 0.9, rel=0.05)
    assert found.gain == pytest.approx(GAIN * 4 / found.shared, rel=0.05)
    assert "of sums, 3.2 times that of independent pixels" in gain_verdict(found, [])
    alone = [(rng.poisson(GAIN * level) / GAIN, rng.poisson(GAIN * level) / GAIN) for _ in range(3)]
    assert measure_gain([(exposed(), exposed()), *alone], whole_numbers=False).shared == 1  # one pair of four
    assert gain_verdict(found, [GAIN]).endswith("agrees")  # to a fifth


def test_images_without_noise_or_too_small() -> None:
    flat = np.full((128, 128), 100.0)
    assert not np.isfinite(measure_gain([(flat, flat)]).gain)
    assert not np.isfinite(measure_gain([halves(np.ones((10, 10)))]).gain)
    assert not np.isfinite(measure_gain([(np.full((64, 64), np.nan), np.ones((64, 64)))]).gain)


# ---------------------------------------------------------------- values


def test_values_and_what_is_missing(night: Path) -> None:
    group = only(night, measure=False)
    assert group.instrument == "Cam"
    assert group.gain is None
    assert group.values["parser"] == {"fits": 6}
    assert group.values["exptime"] == {"60 s": 6}
    assert group.values["gain"] == {"2 e-/ADU": 6}
    assert set(group.missing) == {"saturation", "read_noise"}
    assert group.reasons == {}


def test_instruments_are_told_apart(night: Path) -> None:
    rng = np.random.default_rng(1)
    write(night, "b.fits", image(rng, 100.0, (64, 64), 0), EXPTIME=1.0, GAIN=1.0, INSTRUME="Other",
          DATE_OBS="2024-03-02T00:00:00")  # fmt: skip
    (night / "c.fits").write_bytes(b"no image at all")
    shutil.copy(night / "a0.fits", night / "d.fits")
    with (night / "d.fits").open("r+b") as stream:
        stream.truncate(20000)
    groups = examine(night, "*.fits", default_parsers(Plugins.installed(), night), measure=False)
    assert {g.instrument: len(g.files) for g in groups} == {"Cam": 6, "Other": 1, "unknown": 2}
    reasons = " ".join(groups[-1].reasons) + " ".join(groups[1].reasons)
    assert "can't be read as FITS" in reasons
    assert "truncated" in reasons


def test_a_parser_in_a_file_beside_the_folder_is_asked(night: Path) -> None:
    folder = night.parent / "header_parser"
    folder.mkdir()
    (folder / "parse_header.py").write_text(
        "def parse_header(header):\n    return {'exptime': header['EXPTIME'], 'gain': 7.0, 'mjd': 60000.0}\n"
    )
    group = only(night, measure=False)
    assert group.values["parser"] == {"file": 6}
    assert group.values["gain"] == {"7 e-/ADU": 6}


# ---------------------------------------------------------------- times


def test_moments_are_asked_for_where_the_header_is_silent(night: Path) -> None:
    (text,) = only(night, measure=False).times.moments
    assert text.startswith("CHECK: DATE-OBS is taken as the start")
    assert "Half an exposure is 30 s" in text
    assert "time_reference in [header.fits]" in text
    for path in night.glob("*.fits"):
        fits.setval(path, "DATE-OBS", value=fits.getval(path, "DATE-OBS"), comment="UTC at start of exposure")
    (text,) = only(night, measure=False).times.moments
    assert "as the comment of DATE-OBS" in text
    for path in night.glob("*.fits"):
        fits.setval(path, "DATE-OBS", value=fits.getval(path, "DATE-OBS"), comment="middle of exposure")
    (text,) = only(night, measure=False).times.moments
    assert text.startswith("DATE-OBS is taken as the mid of the exposure, as the comment of DATE-OBS")
    for path in night.glob("*.fits"):
        fits.setval(path, "DATE-OBS", value=fits.getval(path, "DATE-OBS"), comment="end of exposure, not start")
    (text,) = only(night, measure=False).times.moments
    assert text.startswith("CHECK")
    assert "states end" in text


def test_same_overlapping_and_missing_times(night: Path) -> None:
    assert only(night, measure=False).times.duplicates == ()
    shutil.copy(night / "a2.fits", night / "copy.fits")
    fits.setval(night / "a4.fits", "DATE-OBS", value="2024-03-01T02:05:30")  # 30 s after a3, exposed 60 s
    fits.delval(night / "a5.fits", "DATE-OBS")
    times = only(night, measure=False).times
    assert times.duplicates == (("a2.fits", "copy.fits"),)
    assert times.identical == 1
    assert times.overlaps == (("a3.fits", "a4.fits"),)
    assert times.without == ("a5.fits",)


def test_other_times_are_compared(night: Path) -> None:
    for path in night.glob("*.fits"):
        start = read_text_time(fits.getval(path, "DATE-OBS"))
        assert start is not None
        fits.setval(path, "DATE-END", value="2024-03-01T03:00:00")
        fits.setval(path, "MJD-OBS", value=round(start + 7 / 24, 3))
    others = only(night, measure=False).times.others
    assert others["DATE-END"] == (pytest.approx(3600 - 500), pytest.approx(3600))
    low, high = others["MJD-OBS"]
    assert abs(low - 7 * 3600) < 44
    assert abs(high - 7 * 3600) < 44


def test_each_clock_is_listed_and_those_astray_are_marked(night: Path, lcf: Callable[..., Any]) -> None:
    for i, path in enumerate(sorted(night.glob("*.fits"))):
        start = fits.getval(path, "DATE-OBS")
        fits.setval(path, "DATE-OBS", value=f"2024-02-29T19{start[13:]}")  # of UTC-7
        fits.setval(path, "UT", value=start[11:])
        fits.setval(path, "TIME-OBS", value=f"19{start[13:]}")
        fits.setval(path, "LST", value="12:00:00")
        fits.setval(path, "JD-HELIO", value=2460370.6)
        if i == 0:
            with fits.open(path, mode="update") as hdus:
                hdus[0].header.append(("OBJECT", "a"), end=True)
                hdus[0].header.append(("OBJECT", "b"), end=True)
    group = only(night, measure=False)
    assert group.times.others["UT"] == (pytest.approx(0.0, abs=1e-3), pytest.approx(0.0, abs=1e-3))
    assert group.times.others["TIME-OBS"][0] == pytest.approx(-7 * 3600)
    assert set(group.times.astray) == {"DATE-OBS", "TIME-OBS"}
    assert "LST" not in group.times.others
    (local, six), (repeated, one) = group.doubts.items()
    assert local.startswith("CHECK: DATE-OBS is local, 7 h behind UT")
    assert repeated.startswith("the header has OBJECT 2 times ('a', 'b')")
    assert (six, one) == (6, 1)
    shown = lcf("headers", night, "--no-gain").out
    assert "CHECK: TIME-OBS is -25200.000 s from it" in shown
    assert "CHECK: DATE-OBS is local" in shown


@pytest.mark.parametrize(
    ("text", "mjd"),
    [
        ("2000-01-01T12:00:00", 51544.5), ("2000-01-01 12:00:00.25", 51544.5 + 0.25 / 86400),
        ("2000-01-01T05:00:00-0700", 51544.5), ("2000-01-01T12:00:00Z", 51544.5), ("2000-01-01", None),
        ("12:00:00", None), ("2000-13-01T12:00:00", None),
    ],
)  # fmt: skip
def test_reading_times(text: str, mjd: float | None) -> None:
    assert read_text_time(text) == (mjd if mjd is None else pytest.approx(mjd, abs=1e-10))


def test_times_in_two_keywords_and_julian_dates() -> None:
    header = fits.Header(
        [("DATE-OBS", "2000-01-01"), ("UT", "12:00:00"), ("JD", 2451545.0), ("DATE", "2020-01-01T00:00:00")]
    )
    assert time_cards(header) == {"DATE-OBS+UT": pytest.approx(51544.5), "JD": pytest.approx(51544.5)}


@pytest.mark.parametrize(
    ("card", "line"),
    [
        (("EXPO_MS", 60000), "exptime = 60  # s; EXPO_MS = 60000 is in no seconds; CHECK its unit, which the header"),
        (("SHUTTER", 60.0, "[s] open"), 'exptime_keyword = "SHUTTER"  # 60.0'),
        (("SHUTTER", 60.0), 'exptime_keyword = "SHUTTER"  # 60.0; CHECK its unit, which the header does not state'),
    ],
)
def test_lines_to_paste_keep_to_seconds(card: Any, line: str, tmp_path: Path) -> None:
    header = fits.Header([card, ("GAIN", 2.0), ("DATE-OBS", "2024-03-01T02:03:04")])
    fits.PrimaryHDU(np.zeros((20, 20), np.int16), header).writeto(tmp_path / "a.fits")
    (group,) = examine(tmp_path, "*.fits", default_parsers(Plugins.installed(), tmp_path), measure=False)
    assert any(given.startswith(line) for given in group.paste), group.paste


# ---------------------------------------------------------------- command


def test_the_command_prints_all(night: Path, lcf: Callable[..., Any]) -> None:
    ended = lcf("headers", night, "--all")
    assert ended.code == 0, ended.err
    for text in ("Cam: 6 files", "measured gain", "agrees", "missing         saturation", "a3.fits  fits  60 s"):
        assert text in ended.out


def test_json_holds_every_file(night: Path, lcf: Callable[..., Any]) -> None:
    answer = json.loads(lcf("headers", night, "--json", "--no-gain").out)
    (group,) = answer["groups"]
    assert [f["file"] for f in group["files"]] == [f"a{i}.fits" for i in range(6)]
    first = group["files"][0]
    assert first["mjd_mid"] == pytest.approx(60370 + (2 * 3600 + 30) / 86400)
    assert first["saturation"] is None
    assert (first["parser"], first["gain"], first["time_source"]) == ("fits", GAIN, "DATE-OBS")


def test_a_pattern_that_matches_nothing(night: Path, lcf: Callable[..., Any]) -> None:
    ended = lcf("headers", night, "--pattern", "*.FIT")
    assert ended.code == 1
    assert "6 *.fits" in ended.err


def test_a_projects_own_options_count(night: Path, lcf: Callable[..., Any]) -> None:
    project = night.parent / "project.toml"
    project.write_text(
        '[roi.a]\nra = 1.0\ndec = 2.0\n[header]\nplugin = "fits"\n[header.fits]\ntime_reference = "end"\n'
    )
    ended = lcf("headers", night, "--project", project, "--no-gain")
    assert "DATE-OBS is taken as the end" in ended.out
    assert "parsers asked: fits\n" in ended.out


@pytest.mark.slow
@pytest.mark.skipif("LCF_HATP32" not in os.environ, reason="LCF_HATP32 does not name the folder of the HAT-P-32 frames")
def test_real_frames(lcf: Callable[..., Any]) -> None:
    raw = Path(os.environ["LCF_HATP32"]) / "raw"
    answer = json.loads(lcf("headers", raw, "--pattern", "*.FITS", "--json").out)
    (group,) = answer["groups"]
    assert len(group["files"]) == 142
    assert group["times"]["duplicates"] == []
    if group["files"][0]["parser"] == "microobservatory":
        assert 30 < group["gain"]["gain"] < 55
        assert "start" in group["times"]["moments"][0]
