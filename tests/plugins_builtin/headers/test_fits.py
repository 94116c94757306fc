from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from lcframework.types import DataUnit, TimeReference, UnusableInput
from plugins_builtin.headers.fits import FitsHeader

MILLISECOND = 1e-3 / 86400
NOON = 58107.5  # MJD of 2017-12-20T12:00:00


def parse(cards, **options):
    base = {"EXPTIME": 60.0, "GAIN": 1.5, "DATE-OBS": "2017-12-20T12:00:00"}
    header = fits.Header()
    for keyword, value in {**base, **cards}.items():
        if value is not None:
            header[keyword] = value
    return FitsHeader(**options).parse(header, Path("frame.fits"))


def test_reads_the_standard_keywords():
    info = parse(
        {
            "FILTER": " R ",
            "TELESCOP": "VST",
            "INSTRUME": "OmegaCAM",
            "SATURATE": 60000,
            "RDNOISE": 5.5,
            "OBSERVAT": "ESO",
        }
    )
    assert (info.exptime, info.gain, info.band, info.instrument) == (60.0, 1.5, "R", "VST-OmegaCAM")
    assert (info.saturation, info.read_noise, info.site, info.data_unit) == (60000, 5.5, "ESO", DataUnit.ADU)
    assert (info.mjd, info.time_reference, info.time_source) == (NOON, TimeReference.START, "DATE-OBS")
    assert info.mjd_mid == pytest.approx(NOON + 30 / 86400, abs=MILLISECOND)


@pytest.mark.parametrize(
    ("cards", "seconds"),
    [
        ({"DATE-OBS": "2017-12-20T12:00:00.25"}, 0.25),
        ({"DATE-OBS": "2017-12-20T05:00:00-0700"}, 0.0),
        ({"DATE-OBS": "2017-12-20T05:00:00-07:00"}, 0.0),
        ({"DATE-OBS": "2017-12-20T17:30:00+05:30"}, 0.0),
        ({"DATE-OBS": "2017-12-20T12:00:00Z"}, 0.0),
        ({"DATE-OBS": "2017-12-20 12:00:00 UTC"}, 0.0),
        ({"DATE-OBS": "2017/12/20T12:00"}, 0.0),
        ({"DATE-OBS": "2017-12-20", "TIME-OBS": "12:00:01.5"}, 1.5),
        ({"DATE-OBS": "2017-12-20", "UT": "12:00:02"}, 2.0),
        ({"DATE-OBS": "2017-12-20", "UT-OBS": "12:00:03"}, 3.0),
        ({"DATE-OBS": "2017-12-20", "MJD-OBS": NOON}, 0.0),
        ({"DATE-OBS": "2017-12-19T18:33:43-0700", "UT-OBS": "2017-12-20T12:00:00-0000"}, 0.0),
        ({"DATE-OBS": None, "MJD-OBS": NOON + 4 / 86400}, 4.0),
        ({"DATE-OBS": None, "JD": 2400000.5 + NOON}, 0.0),
        ({"DATE-OBS": None, "DATE-BEG": "2017-12-20T12:00:00"}, 0.0),
        # A second of TAI is 37 s of UTC ahead in 2017; TT another 32.184 s; GPS 19 s behind TAI.
        ({"TIMESYS": "TAI"}, -37.0),
        ({"TIMESYS": "TT"}, -69.184),
        ({"TIMESYS": "GPS"}, -18.0),
        ({"TIMESYS": "UTC"}, 0.0),
        ({"DATE-OBS": None, "MJD-OBS": NOON, "TIMESYS": "TAI"}, -37.0),
        ({"DATE-OBS": "2017-12-20", "UT-OBS": "12:00:00", "TIMESYS": "TAI"}, 0.0),
    ],
)
def test_reads_times_in_their_many_forms(cards, seconds):
    assert parse(cards).mjd == pytest.approx(NOON + seconds / 86400, abs=MILLISECOND)


def test_agrees_with_astropy_on_barycentric_dynamical_time():
    expected = Time("2017-12-20T12:00:00", scale="tdb").utc.mjd
    assert parse({"TIMESYS": "TDB"}).mjd == pytest.approx(expected, abs=MILLISECOND)


def test_reads_dates_of_the_last_century():
    assert parse({"DATE-OBS": "31/12/98", "UT": "06:00:00"}).mjd == pytest.approx(Time("1998-12-31T06:00:00").mjd)


@pytest.mark.parametrize(
    ("cards", "reference", "source"),
    [
        ({"DATE-AVG": "2017-12-20T12:00:30"}, TimeReference.MID, "DATE-AVG"),
        ({"DATE-OBS": None, "MJD-AVG": NOON + 30 / 86400}, TimeReference.MID, "MJD-AVG"),
        ({"DATE-OBS": None, "DATE-END": "2017-12-20T12:01:00"}, TimeReference.END, "DATE-END"),
        ({"DATE-OBS": "2017-12-20", "UT": "12:00:00"}, TimeReference.START, "DATE-OBS+UT"),
    ],
)
def test_knows_which_moment_of_the_exposure_a_keyword_means(cards, reference, source):
    info = parse(cards)
    assert (info.time_reference, info.time_source) == (reference, source)
    assert info.mjd_start == pytest.approx(NOON, abs=MILLISECOND)


def test_options_replace_what_the_header_says():
    info = parse(
        {"MYTIME": "2017-12-20T13:00:00"}, exptime=30.0, gain=2.0, time_keyword="MYTIME", time_reference="mid",
        saturation=5e4, read_noise=3.0, band="V", instrument="mine", data_unit="adu/s",
    )  # fmt: skip
    assert (info.exptime, info.gain, info.saturation, info.read_noise) == (30.0, 2.0, 5e4, 3.0)
    assert (info.band, info.instrument, info.data_unit) == ("V", "mine", DataUnit.ADU_PER_SECOND)
    assert (info.mjd_mid, info.time_source) == (NOON + 1 / 24, "MYTIME")


def test_a_camera_setting_called_gain_is_no_gain():
    assert parse({"GAIN": 139, "EGAIN": 0.25}).gain == 0.25


@pytest.mark.parametrize(
    ("cards", "instrument"),
    [
        ({"TELESCOP": "C 2.1 m", "INSTRUME": "CCD #3"}, "C-2-1-m-CCD-3"),
        ({"TELESCOP": "ZTF", "INSTRUME": "ZTF/MOSAIC"}, "ZTF-MOSAIC"),
        ({"INSTRUME": "cam"}, "cam"),
        ({}, ""),
    ],
)
def test_instrument_is_a_name_for_files_and_toml(cards, instrument):
    assert parse(cards).instrument == instrument


@pytest.mark.parametrize(
    ("cards", "band"),
    [
        ({"FILTER1": "clear", "FILTER2": "i"}, "i"),
        ({"FILTER1": "Clear"}, "Clear"),
        ({"FILTER1": "B", "FILTER2": "ND"}, "B+ND"),
    ],
)
def test_filter_wheels(cards, band):
    assert parse(cards).band == band


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("ADU", DataUnit.ADU), ("counts", DataUnit.ADU), ("electrons", DataUnit.ELECTRON), ("e-", DataUnit.ELECTRON),
        ("electron/s", DataUnit.ELECTRON_PER_SECOND), ("e-/sec", DataUnit.ELECTRON_PER_SECOND),
        ("ADU/s", DataUnit.ADU_PER_SECOND), ("cps", DataUnit.ADU_PER_SECOND), ("adu/pixel", DataUnit.ADU),
        ("ct", DataUnit.ADU), ("cts", DataUnit.ADU), ("ct/s", DataUnit.ADU_PER_SECOND),
    ],
)  # fmt: skip
def test_units_of_the_data(unit, expected):
    info = parse({"BUNIT": unit, "GAIN": 2.0})
    assert info.data_unit is expected
    assert info.gain == (1.0 if "electron" in expected.value else 2.0)


def test_electrons_need_no_gain():
    assert parse({"BUNIT": "electron", "GAIN": None}).gain == 1.0


def test_unknown_saturation_and_read_noise():
    info = parse({"SATURATE": 0})
    assert info.saturation == np.inf
    assert np.isnan(info.read_noise)


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        (
            {"GAIN": 0, "BUNIT": "adu/s"},
            "GAIN = 0 is no gain in e-/ADU.*noise, which tells none",
        ),
        ({"GAIN": "high"}, "'high'"),
        ({"EXPTIME": 0.0}, "exposure time.*EXPTIME = 0.0"),
        ({"EXPTIME": None}, "no exposure time.*EXPOSURE"),
        ({"EXPTIME": -1}, "EXPTIME = -1"),
        ({"DATE-OBS": None}, "no time.*DATE-OBS"),
        ({"DATE-OBS": "20 Dec 2017"}, "DATE-OBS = '20 Dec 2017'"),
        ({"DATE-OBS": "2017-13-40T00:00:00"}, "DATE-OBS = '2017-13-40T00:00:00'"),
        ({"DATE-OBS": "2017-12-20"}, "time of day.*DATE-OBS = '2017-12-20'"),
        ({"DATE-OBS": "1858-11-17T00:00:00"}, "clock was not set"),
        ({"TIMESYS": "LOCAL"}, "TIMESYS = 'LOCAL'"),
        ({"BUNIT": "nJy"}, "BUNIT = 'nJy'"),
        ({"BOFFSET": 2.3, "BSOFTEN": 123.4}, "BSOFTEN = 123.4, BOFFSET = 2.3 say, which are not proportional to light"),
    ],
)
def test_says_what_is_wrong_and_what_to_do(cards, words):
    with pytest.raises(UnusableInput, match=words):
        parse(cards)


@pytest.mark.parametrize(
    "options",
    [{"gain": -1.0}, {"exptime": np.nan}, {"time_reference": "middle"}, {"time_scale": "local"}, {"data_unit": "Jy"}],
)
def test_refuses_senseless_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        FitsHeader(**options)


def test_a_gain_that_no_keyword_gives_is_unknown():
    assert np.isnan(parse({"GAIN": None}).gain)
