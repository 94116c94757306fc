from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lcframework.types import HeaderInfo, TimeReference, UnusableInput

lcf_microobservatory = pytest.importorskip(
    "lcf_microobservatory", reason="not installed: pip install plugin_examples/lcf-microobservatory"
)

CARDS = {
    "DATE-OBS": "2017-12-19T18:33:43.317-0700",
    "UT-OBS": "2017-12-20T01:33:43.317-0000",
    "MJD-OBS": 58107.065,
    "EXPTIME": 60.0,
    "FILTER": "Clear   ",
    "TELESCOP": "Cecilia ",
    "OBSERVAT": "Whipple Observatory",
    "CREATOR": "MicroObservatory2014-05-23",
}


def parse(changes=None, **options):
    header = fits.Header({**CARDS, **(changes or {})})
    return lcf_microobservatory.MicroObservatory(**options).parse(header, Path("a.FITS"))


def test_reads_one_of_its_frames():
    info = parse()
    assert isinstance(info, HeaderInfo)
    # 58107 is 2017-12-20; the start is known to a millisecond.
    start = 58107 + (1 * 3600 + 33 * 60 + 43.317) / 86400
    assert info.mjd == pytest.approx(start, abs=1e-3 / 86400)
    assert info.time_reference is TimeReference.START
    assert info.mjd_mid == pytest.approx(start + 30 / 86400, abs=1e-3 / 86400)
    assert (info.exptime, info.gain, info.saturation) == (60.0, 39.0, 4000.0)
    assert info.read_noise == pytest.approx(23.4)
    assert (info.band, info.instrument, info.site) == ("clear", "MicroObservatory-Cecilia", "Whipple Observatory")


def test_read_noise_follows_the_gain():
    assert parse(gain=30.0).read_noise == pytest.approx(18.0)


@pytest.mark.parametrize("creator", ["", "MaxIm DL", None])
def test_leaves_other_telescopes_frames_alone(creator):
    header = fits.Header({**CARDS, "CREATOR": creator} if creator is not None else {"EXPTIME": 60.0})
    assert lcf_microobservatory.MicroObservatory().parse(header, Path("a.fits")) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"EXPTIME": 0.0}, "EXPTIME = 0"), ({"EXPTIME": "long"}, "'long'"), ({"UT-OBS": "yesterday"}, "'yesterday'")],
)
def test_says_what_is_wrong_with_a_header(changes, words):
    with pytest.raises(UnusableInput, match=words):
        parse(changes)


@pytest.mark.parametrize("option", ["gain", "read_noise", "saturation"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_refuses_senseless_options(option, value):
    with pytest.raises(ValueError, match=option):
        lcf_microobservatory.MicroObservatory(**{option: value})


def test_is_found_through_its_entry_point():
    loaded = [e.load() for e in entry_points(group="lcframework") if e.name == "header-microobservatory"]
    assert loaded == [lcf_microobservatory]
