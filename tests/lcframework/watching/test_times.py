"""Durations and moments as people write them."""

from __future__ import annotations

import datetime as dt

import pytest

from lcframework.watching.times import moment_of, seconds_of

ZONE = dt.timezone(dt.timedelta(hours=2))
EVENING = dt.datetime(2026, 1, 31, 22, 15, tzinfo=ZONE)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5h", 5400), ("10min", 600), ("2 m", 120), (".5", 0.5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 parsecs", "-3s", "1h30"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration: write 90"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("06:30", dt.datetime(2026, 2, 1, 6, 30, tzinfo=ZONE)),
        ("6:30", dt.datetime(2026, 2, 1, 6, 30, tzinfo=ZONE)),
        ("23:00", dt.datetime(2026, 1, 31, 23, 0, tzinfo=ZONE)),
        ("2026-02-01T06:30Z", dt.datetime(2026, 2, 1, 6, 30, tzinfo=dt.UTC)),
        ("2026-02-01 06:30", dt.datetime(2026, 2, 1, 6, 30, tzinfo=ZONE)),
    ],
)
def test_moments(text: str, moment: dt.datetime) -> None:
    assert moment_of(text, EVENING) == moment


@pytest.mark.parametrize(
    ("text", "why"), [("25:00", "no time of day"), ("dawn", "is no time"), ("2020-01-01", "passed")]
)
def test_what_is_no_moment(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        moment_of(text, EVENING)
