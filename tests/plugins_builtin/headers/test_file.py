from __future__ import annotations

from pathlib import Path

import pytest
from astropy.io import fits

from lcframework.types import HeaderInfo, NeedMissing, TimeReference, UnusableInput
from plugins_builtin.headers.file import FileHeader

DOCUMENTED = """
def parse_header(header):
    from astropy.time import Time
    return {'exptime': header['exptime'], 'gain': header['gain'], 'mjd': Time(header['obstart']).mjd}
"""
HEADER = fits.Header({"EXPTIME": 320.0, "GAIN": 2.0, "OBSTART": "2020-01-01T00:00:00"})


@pytest.fixture
def parser(tmp_path):
    def write(text, name="parse_header.py"):
        (tmp_path / name).write_text(text)
        return FileHeader(path=tmp_path / name)

    return write


def test_runs_the_documented_function(parser, tmp_path):
    info = parser(DOCUMENTED).parse(HEADER, Path("a.fits"))
    assert isinstance(info, HeaderInfo)
    assert (info.exptime, info.gain, info.mjd, info.time_reference) == (320.0, 2.0, 58849.0, TimeReference.START)
    assert [p.name for p in tmp_path.iterdir()] == ["parse_header.py"]


def test_takes_the_optional_fields(parser):
    text = (
        "def parse_header(h): return dict(exptime=1, gain=1, mjd=58849, time_reference='mid', band='g', saturation=6e4)"
    )
    info = parser(text).parse(HEADER, Path("a.fits"))
    assert (info.mjd_mid, info.band, info.saturation) == (58849.0, "g", 6e4)


def test_the_function_can_not_change_the_frames_header(parser):
    text = "def parse_header(h):\n    h['GAIN'] = 9.0\n    return dict(exptime=1, gain=h['GAIN'], mjd=58849)"
    assert parser(text).parse(HEADER, Path("a.fits")).gain == 9.0
    assert HEADER["GAIN"] == 2.0


def test_notices_an_edited_file(parser):
    assert parser("def parse_header(h): return dict(exptime=1, gain=1, mjd=58849)").parse(HEADER, Path("a")).gain == 1
    assert parser("def parse_header(h): return dict(exptime=1, gain=20, mjd=58849)").parse(HEADER, Path("a")).gain == 20


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "def parse_header(h):\n    g = 1\n    return {'gain': h['EGAIN']}",
            r"line 3 of .*parse_header.py.*EGAIN.*KeyError",
        ),
        ("def parse_header(h): return 3.0", "returned 3.0 where a dictionary"),
        ("def parse_header(h): return {'exptime': 1.0, 'gain': None}", "returned no gain, mjd"),
        ("def parse_header(h): return dict(exptime=0, gain=1, mjd=58849)", "exptime must be a positive number"),
        ("def parse_header(h): return dict(exptime=1, gain=1, mjd='now')", "makes no sense.*now"),
        ("def parse_header(h): return dict(exptime=1, gain=1, mjd=1, bnad='g')", "did you mean band"),
    ],
)
def test_says_what_is_wrong_with_an_answer(parser, text, words):
    with pytest.raises(UnusableInput, match=words):
        parser(text).parse(HEADER, Path("a.fits"))


def test_none_leaves_the_header_to_others(parser):
    assert parser("def parse_header(h): return None").parse(HEADER, Path("a.fits")) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def parse_header(h:\n  return", "can't be run in line 1"),
        ("x = 1\nimport no_such_module\n", "line 2 of .*no_such_module"),
        ("def parse(h): return {}", "has no function parse_header"),
    ],
)
def test_a_file_that_can_not_run_is_a_missing_need(parser, text, words):
    with pytest.raises(NeedMissing, match=words):
        parser(text).parse(HEADER, Path("a.fits"))


def test_a_missing_file_is_a_missing_need(tmp_path):
    with pytest.raises(NeedMissing, match=r"no header parser at .*parse_header\.py"):
        FileHeader(path=tmp_path / "parse_header.py").parse(HEADER, Path("a.fits"))
