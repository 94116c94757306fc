"""Dates and times in texts of headers."""

from __future__ import annotations

import pytest
from astropy.io import fits

from lcframework.frames.header_cards import read_text_time, stated_moment, time_cards

NOON = 60310.5  # 2024-01-01T12:00:00


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-01T12:00:00", NOON),
        ("2024-01-01T12:00:00Z", NOON),
        ("2024-01-01T12:00:00.75", NOON + 0.75 / 86400),
        ("2024-01-01T22:00:00+10:00", NOON),
        ("2024-01-01T02:00:00-10:00", NOON),
        ("noon", None),
    ],
)
def test_a_text_is_read_as_utc(text, expected):
    found = read_text_time(text)
    assert found is None if expected is None else found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("clock", "seconds"),
    [
        ("3:04:05", 11045.0), ("03:04:05", 11045.0), ("3:04:05.5", 11045.5), ("03:04:05.5", 11045.5),
        ("13:04:05.25", 47045.25), ("3:04:05.", 11045.0), ("3:04", 11040.0), ("13:04", 47040.0),
    ],
)  # fmt: skip
def test_a_date_and_a_clock_give_one_time(clock, seconds):
    header = fits.Header([("DATE-OBS", "2024-01-01"), ("UT", clock)])
    assert time_cards(header) == {"DATE-OBS+UT": pytest.approx(60310.0 + seconds / 86400, abs=1e-9)}


@pytest.mark.parametrize(
    ("comment", "moment"), [("MIDAS desc.: O_TIME(4)", ""), ("mid-exposure", "mid"), ("seconds since midnight", "")]
)
def test_the_middle_in_a_comment(comment, moment):
    header = fits.Header([("MJD-OBS", NOON, comment)])
    assert stated_moment(header, "MJD-OBS")[0] == moment
