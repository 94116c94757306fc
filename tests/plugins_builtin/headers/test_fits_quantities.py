"""Exposure times, filters and gains of headers that say it in their own way, or that contradict themselves."""

from __future__ import annotations

import math

import generic_headers
import pytest
from generic_headers import kinds

from lcframework.types import UnusableInput
from plugins_builtin.shared.exposure_times import unit_in_words


def parse(cards, options=None):
    return generic_headers.parse({"DATE-OBS": "2023-05-04T03:12:00", **cards}, options)


# ---------------------------------------------------------------- exposure times


@pytest.mark.parametrize(
    "cards",
    [
        {"TIMEUNIT": "s"}, {"TIMEUNIT": "d"}, {"TIMEUNIT": "yr"}, {"TIMEUNIT": "d", "EXPTIME": (60.0, "[s] exposure")},
        {"EXPTIME": None, "XPOSURE": 1.0, "TIMEUNIT": "min"}, {"TELAPSE": 61 / 86400, "TIMEUNIT": "d"},
        {"EXPTIME": (6000, "exposure in units of 10 ms")}, {"EXPTIME": (60.0, "exposure of 60.0 s")},
        {"EXPTIME": (60.0, "[60 s]")},
        {"EXPTIME": (60000.0, "[ms] exposure time")}, {"EXPTIME": (1.0, "exposure in minutes")},
        {"EXPTIME": (60_000_000, "Exposure time (us)")}, {"EXPTIME": "60.0 s"}, {"EXPTIME": "1 min"},
        {"EXPTIME": "60,0"}, {"EXPTIME": None, "EXPOSURE": (60000, "milliseconds")},
        {"TELAPSE": 61.0, "EXPOSURE": 60.0, "DATE-END": "2023-05-04T03:13:01"},
        {"DATE-END": "2023-05-04T03:13:05"}, {"EXPTIME": "UNKNOWN", "EXPOSURE": 60.0},
    ],
)  # fmt: skip
def test_exposure_times_in_their_units(cards):
    info = parse(cards)
    assert (info.exptime, info.doubts) == (pytest.approx(60.0), ())


@pytest.mark.parametrize(
    ("comment", "seconds"),
    [
        ("[s] Exposure length", 1.0), ("Exposure time (sec)", 1.0), ("exposure, ms", 1e-3), ("in seconds", 1.0),
        ("exposure time in milliseconds", 1e-3), ("minimum exposure of a day's worth", None), ("", None),
        ("in s since the shutter was opened", 1.0), ("Exposure time in header", None), ("[min]", 60.0),
        ("total integration time, minutes", 60.0), ("seconds or minutes", None), ("[d]", 86400.0),
        ("in units of 10 ms", 0.01), ("[0.01 s]", 0.01), ("[.5 min]", 30.0),
    ],
)  # fmt: skip
def test_units_in_comments(comment, seconds):
    assert unit_in_words(comment) == seconds


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"EXPTIME": (60.0, "[s]"), "TIMEUNIT": "min"}, [("exposure_time_unit", "doubt")]),
        ({"TIMEUNIT": "frames"}, [("exposure_time_unit", "doubt")]),
        ({"EXPOSURE": 30.0}, [("exposure_times_disagree", "doubt")]),
        ({"DATE-AVG": "2023-05-04T03:12:00.030"}, [("exposure_times_disagree", "doubt")]),
        ({"TELAPSE": 600.0}, [("exposure_times_disagree", "doubt")]),
        ({"DATE-END": "2023-05-04T03:12:30"}, [("exposure_times_disagree", "doubt")]),
        ({"DATE-END": "2023-05-04T03:13:30"}, [("exposure_times_disagree", "note")]),
    ],
)
def test_exposure_times_that_contradict_each_other(cards, expected):
    info = parse(cards)
    assert info.exptime == 60.0
    assert kinds(info) == expected


def test_what_no_read_out_takes_is_a_doubt():
    """Many short exposures with time between them, summed: the middle is not half of their sum after the start."""
    info = parse({"EXPTIME": None, "EXPOSURE": (0.0165, "[d] time on source"), "DATE-END": "2023-05-04T03:42:00"})
    assert info.exptime == pytest.approx(1425.6)
    assert kinds(info) == [("exposure_times_disagree", "doubt")]


@pytest.mark.parametrize(
    "cards",
    [
        {"EXPTIME": 1.0, "TIMEUNIT": "min"}, {"EXPTIME": 60000.0, "TIMEUNIT": "ms"}, {"TIMEUNIT": "us"},
        {"TIMEUNIT": "min", "DATE-END": "2023-05-04T03:13:00"}, {"EXPTIME": (6000, "[0.01 s]")},
        {"EXPTIME": (60.0, "exposure, at most 600 s")},
    ],
)  # fmt: skip
def test_units_of_exposure_times_that_are_doubted(cards):
    info = parse(cards)
    assert info.exptime == pytest.approx(60.0)
    assert kinds(info) == [("exposure_time_unit", "doubt")]


def test_an_exposure_time_is_never_in_days_by_timeunit():
    assert parse({"EXPTIME": 0.5, "TIMEUNIT": "d"}).exptime == 0.5


def test_a_stated_exposure_time_is_not_doubted():
    assert parse({"EXPOSURE": 30.0, "TIMEUNIT": "min"}, {"exptime": 60.0}).doubts == ()


@pytest.mark.parametrize(
    "cards", [{"EXPTIME": None, "XPOSURE": 60.0, "TIMEUNIT": "d"}, {"EXPTIME": "1,500"}, {"EXPTIME": "60 parsec"}]
)
def test_exposure_times_that_make_no_sense(cards):
    with pytest.raises(UnusableInput, match="exposure time makes no sense"):
        parse(cards)


# ---------------------------------------------------------------- filters


@pytest.mark.parametrize(
    ("cards", "band"),
    [
        ({"FILTER": "NO_FILTER", "FILTER2": "B"}, "B"), ({"FILTER": "Open", "FILTER2": "V"}, "V"),
        ({"FILTER": "Clear_1", "FILTER1": "empty slot 3", "FILTER2": "SDSS-r"}, "SDSS-r"),
        ({"FILTER": "B", "FILTER2": "No Filter"}, "B"), ({"FILTER": "r", "FILTER2": "GG385"}, "r+GG385"),
        ({"FILTER1": "B", "FILTER2": "ND", "FILTER3": "Open"}, "B+ND"),
        ({"FILTER": "NO_FILTER", "FILTER2": "Open"}, "NO_FILTER"),
        ({"FILTER": "V", "FILTER1": "V", "FILTER2": "BG39"}, "V"), ({"FILTER": "Open", "FILT2": 3}, "3"),
        ({"FILTER": "V", "FILTER1": 2, "FILTERID": "Johnson V"}, "V"), ({"FWHEEL1": "Air", "FWHEEL2": "i"}, "i"),
        ({"HIERARCH ESO INS FILT1 NAME": "FREE", "HIERARCH ESO INS FILT2 NAME": "R_BESS"}, "R_BESS"),
        ({"FILTER": "Clear+V"}, "V"), ({"FILTER01": "W-S-R+"}, "W-S-R+"),
        ({"FILTER": "5007/20", "FILTER2": "--"}, "5007/20"),
        ({"FILTER": "position 1: open", "FILTER2": "g"}, "g"),
        ({"FILTER": "rp", "FILTER1": "air", "FILTER2": "r"}, "rp"), ({}, ""),
    ],
)  # fmt: skip
def test_wheels_without_a_filter_hide_none(cards, band):
    info = parse(cards)
    assert (info.band, info.doubts) == (band, ())


@pytest.mark.parametrize(
    "cards",
    [{"FILTER": "V", "FILTER1": "Open", "FILTER2": "B"}, {"FILTER": "B", "FILTER2": "V"},
     {"FILTER": "B", "FILTNAM": "R"}, {"FILTER1": "g", "FILTER2": "SDSS-r"}],
)  # fmt: skip
def test_bands_that_differ_are_doubted(cards):
    assert kinds(parse(cards)) == [("bands_disagree", "doubt")]
    assert parse(cards, {"band_keyword": next(iter(cards))}).doubts == ()


# ---------------------------------------------------------------- gains


@pytest.mark.parametrize(
    ("cards", "gain"),
    [({"GAIN": "1,50"}, 1.5), ({"GAIN": 360, "EGAIN": 0.25}, 0.25), ({"GAIN": (39, "electrons per ADU")}, 39.0),
     ({"GAIN": 5}, 5.0), ({"GAIN": 2.5, "OFFSET": 10}, 2.5),
     ({"GAIN": (110.5, "[electrons/count] channel gain")}, 110.5), ({"GAIN": "1.5 e-/ADU"}, 1.5),
     ({"GAIN": "N/A", "CCDGAIN": 1.4}, 1.4)],
)  # fmt: skip
def test_gains(cards, gain):
    info = parse(cards)
    assert (info.gain, info.doubts) == (gain, ())


@pytest.mark.parametrize("text", ["UNKNOWN", "n/a", "None", "", "---"])
def test_a_word_for_nothing_is_no_gain(text):
    assert math.isnan(parse({"GAIN": text}).gain)


@pytest.mark.parametrize(
    ("cards", "saturation", "read_noise"),
    [
        ({"SATURATE": (90000.0, "[e-] full well"), "RDNOISE": (4.0, "[ADU]")}, 60000.0, 6.0),
        ({"SATURATE": (60000.0, "[ADU]"), "ENOISE": (6.0, "[electrons] or so")}, 60000.0, 6.0),
        ({"SATURATE": (90000.0, "(electrons)"), "RDNOISE": (4.0, "[DN]"), "GAIN": None}, math.inf, math.nan),
        ({"SATURATE": (60000.0, "[ADU]"), "RDNOISE": 6.0, "BUNIT": "electron"}, 60000.0, 6.0),
    ],
)  # fmt: skip
def test_units_of_saturation_and_read_noise(cards, saturation, read_noise):
    info = parse(cards)
    assert (info.saturation, info.read_noise) == pytest.approx((saturation, read_noise), nan_ok=True)


@pytest.mark.parametrize(
    ("cards", "words"),
    [({"GAIN": 100}, "GAIN = 100 is no gain in e-/ADU, for no detector has as much as 100, but may be a setting"),
     ({"GAIN": (12, "Gain setting")}, "a setting of the camera, as its comment says"),
     ({"GAIN": (12.5, "[0.1 dB]")}, "a setting of the camera, as its comment says"), ({"EGAIN": 139}, "EGAIN = 139"),
     ({"GAIN": (139, "[e-/ADU]")}, "GAIN = 139 is no gain"), ({"GAIN": 0, "OFFSET": 10}, "GAIN = 0 is no gain"),
     ({"GAIN": -1}, "GAIN = -1 is no gain")],
)  # fmt: skip
def test_settings_are_no_gains(cards, words):
    """The frames' noise has to tell what the camera's setting stands for."""
    info = parse(cards)
    assert math.isnan(info.gain)
    (doubt,) = info.doubts
    assert (doubt.kind, doubt.severity) == ("gain_setting", "note")
    assert words in doubt.text
    assert "left to the frames' noise" in doubt.text
    given = parse(cards, {"gain": 0.8})
    assert (given.gain, given.doubts) == (0.8, ())


@pytest.mark.parametrize(
    ("cards", "severity"),
    [({"GAIN": 26}, "doubt"), ({"GAIN": 3, "OFFSET": 10}, "serious"), ({"GAIN": (0.5, "[ADU/e-]")}, "doubt"),
     ({"GAIN": (2.0, "gain setting")}, "doubt")],
)  # fmt: skip
def test_what_may_be_a_setting_is_doubted(cards, severity):
    assert kinds(parse(cards)) == [("gain_setting", severity)]


@pytest.mark.parametrize("keyword", ["NCOMBINE", "STACKCNT", "SNAPSHOT"])
def test_the_gain_of_a_combined_frame_is_doubted(keyword):
    doubt, of_time = parse({keyword: 9, "GAIN": 2.0}).doubts
    assert of_time.kind == "combined_times"
    assert (doubt.kind, doubt.severity, doubt.value) == ("combined_exposures", "doubt", 9.0)
    assert "errors of a mean would be 3 times too large" in doubt.text
    assert "18 for a mean, 11.46 for a median, 2 for a sum" in doubt.remedy


def test_one_exposure_is_not_combined_and_a_gain_that_the_user_gives_holds():
    assert parse({"NCOMBINE": 1, "GAIN": 2.0}).doubts == ()
    assert parse({"NCOMBINE": 9, "GAIN": 2.0}, {"gain": 18.0, "exptime": 540.0}).doubts == ()
    assert kinds(parse({"NCOMBINE": 9, "GAIN": 2.0}, {"gain": 18.0})) == [("combined_times", "doubt")]


@pytest.mark.parametrize(
    ("cards", "late"),
    [
        ({"STACKCNT": 20}, 570.0), ({"COADDS": 4}, 90.0), ({"CO_ADDS": 4}, 90.0), ({"NCOADD": 2}, 30.0),
        ({"HIERARCH ESO DET NDIT": 12, "HIERARCH ESO DET DIT": 60.0}, 330.0),
        ({"COADDS": 4, "DATE-END": "2023-05-04T03:16:20"}, 90.0),
        ({"EXPTIME": None, "ITIME": 2.0, "COADDS": 30}, 29.0),
    ],
)  # fmt: skip
def test_the_middle_of_a_combined_frame_is_doubted(cards, late):
    doubts = {d.kind: d for d in parse({"GAIN": None, **cards}).doubts}
    assert (doubts["combined_times"].severity, doubts["combined_times"].value) == ("doubt", late)


@pytest.mark.parametrize(
    ("cards", "options"),
    [
        ({"COADDS": 1}, {}), ({"COADDS": 0}, {}), ({"EXPTIME": 0.1, "COADDS": 9}, {}),
        ({"HIERARCH ESO DET NDIT": 12, "HIERARCH ESO DET DIT": 5.0}, {}),  # 60 s are those of all
        ({"COADDS": 4, "DATE-END": "2023-05-04T03:13:10"}, {}),
        ({"DATE-OBS": None, "DATE-AVG": "2023-05-04T03:12:30", "COADDS": 4}, {}),
        ({"COADDS": 4}, {"exptime": 240.0}), ({"COADDS": 4}, {"time_keyword": "DATE-OBS"}),
    ],
)  # fmt: skip
def test_the_middle_of_a_combined_frame_that_is_known(cards, options):
    assert parse({"GAIN": None, **cards}, options).doubts == ()
