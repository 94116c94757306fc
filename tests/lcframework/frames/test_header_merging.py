"""Headers that say a thing twice, or write numbers with a comma."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from lcframework.config.sections import Frames
from lcframework.frames.header_merging import merged_header, numbers_rest_on
from lcframework.frames.raw_frames import read_raw, read_raw_header
from lcframework.types import Severity, UnusableInput
from plugins_builtin.headers.fits import EXPTIME, GAIN, READ_NOISE, SATURATION
from plugins_builtin.shared.clock_cards import CLOCKS, DATES, DAYS, DAYS_OF_SOME_MOMENT
from plugins_builtin.shared.filter_names import BAND


def header_of(*cards: str | tuple[str, object]) -> fits.Header:
    header = fits.Header()
    for card in cards:
        header.append(fits.Card.fromstring(card.ljust(80)) if isinstance(card, str) else card, end=True)
    return header


def write_card(path, keyword, card):
    """Replace a card of a file's first header by a text."""
    raw = path.read_bytes()
    at = next(i for i in range(0, len(raw), 80) if raw[i : i + 8] == keyword.ljust(8).encode())
    path.write_bytes(raw[:at] + card.ljust(80).encode() + raw[at + 80 :])


def test_the_first_of_a_repeated_keyword_counts_and_a_conflict_is_told():
    one = header_of(
        ("EXPTIME", 60.0), ("DEWPOINT", 3.0), ("OBJECT", "a"), ("EXPTIME", 6.0), ("DEWPOINT", 3.0), ("OBJECT", "b"),
        ("HISTORY", "x"), ("HISTORY", "x"),
    )  # fmt: skip
    header, doubts = merged_header([one])
    assert (header["EXPTIME"], header.count("EXPTIME"), header["OBJECT"]) == (60.0, 1, "a")
    assert len(header["HISTORY"]) == 2
    assert [(d.kind, d.subject, d.severity) for d in doubts] == [
        ("repeated_keyword", "EXPTIME", Severity.DOUBT), ("repeated_keyword", "OBJECT", Severity.NOTE),
    ]  # fmt: skip
    assert "60.0, 6.0" in doubts[0].text


@pytest.mark.parametrize("keyword", ["DATE-OBS", "UT", "GAIN", "CRPIX1", "CD1_2", "FILTER2", "SATURATE", "MJD-OBS"])
def test_what_numbers_rest_on_is_a_doubt(keyword):
    _, (doubt,) = merged_header([header_of((keyword, 1.0), (keyword, 2.0))])
    assert doubt.severity is Severity.DOUBT


def test_what_the_generic_parser_reads_is_what_numbers_rest_on():
    times = {**DATES, **DAYS, **CLOCKS, **dict.fromkeys(DAYS_OF_SOME_MOMENT)}
    read = [*times, *BAND, *EXPTIME, *GAIN, *SATURATION, *READ_NOISE, "DATE_OBS", "DATEOBS", "TIMESYS", "FILTER1"]
    assert [k for k in read if not numbers_rest_on(k)] == []
    others = [
        "DATE",
        "OBJECT",
        "SHUTTER",
        "CREATIME",
        "DATE-FILE",
        "TIMEZONE",
        "UTCOFF",
        "CCDTEMP",
        "DEADTIME",
        "CDELAY",
    ]
    assert [k for k in others if numbers_rest_on(k)] == []


def test_of_several_headers_the_later_counts_without_a_doubt():
    header, doubts = merged_header([header_of(("GAIN", 1.0), ("GAIN", 5.0)), header_of(("GAIN", 2.0))])
    assert header["GAIN"] == 2.0
    assert len(doubts) == 1
    assert merged_header([header_of(("GAIN", 1.0)), header_of(("GAIN", 2.0))])[1] == ()


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")
def test_numbers_with_a_decimal_comma():
    texts = ["EXPTIME =                60,00 / [s]", "CRVAL1  =   1,500000000000E+02", "GAIN    = 1,500"]
    header, _ = merged_header([header_of(*texts, "OBJECT  = '1,5'")])
    assert (header["EXPTIME"], header["CRVAL1"]) == (60.0, 150.0)
    assert header.comments["EXPTIME"] == "[s]"
    assert header["GAIN"] == "1,500"  # one and a half, or fifteen hundred
    assert header["OBJECT"] == "1,5"


def test_the_card_that_keeps_a_file_from_being_read_is_named(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.ones((20, 20), np.uint16)).writeto(path)
    write_card(path, "BZERO", "BZERO   =   3,276800000000E+04")
    for read in (read_raw, read_raw_header):
        with pytest.raises(UnusableInput, match=r"BZERO   =   3,276800000000E\+04.*point, not a comma"):
            read(path, Frames())
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((20, 20), np.uint16))]).writeto(tmp_path / "b.fits")
    raw = (tmp_path / "b.fits").read_bytes()
    at = raw.index(b"BZERO   =")
    (tmp_path / "b.fits").write_bytes(raw[:at] + b"BZERO   = 32768,0".ljust(80) + raw[at + 80 :])
    with pytest.raises(UnusableInput, match="BZERO   = 32768,0"):
        read_raw(tmp_path / "b.fits", Frames(hdu_data=1))


def test_doubts_come_with_the_frame(tmp_path):
    header = header_of(("EXPTIME", 60.0), ("EXPTIME", 6.0))
    fits.PrimaryHDU(np.ones((20, 20), np.int16), header).writeto(tmp_path / "a.fits")
    raw = read_raw(tmp_path / "a.fits", Frames())
    assert raw.header["EXPTIME"] == 60.0
    assert [d.subject for d in raw.doubts] == ["EXPTIME"]
