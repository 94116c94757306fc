from __future__ import annotations

import pytest

from plugins_builtin.shared.time_texts import clock_of_hours, clock_seconds, read_time_text


@pytest.mark.parametrize(
    ("text", "date", "clock"),
    [
        ("2023-05-04T03:12:00.5", "2023-05-04", "03:12:00.5"),
        ("2023-05-04T 3:24: 0", "2023-05-04", "03:24:00"),
        ("2023-05-04T03-12-00", "2023-05-04", "03:12:00"),
        ("2023-05-04T03:39:60", "2023-05-04", "03:39:60"),
        ("2023:05:04 03:12:00", "2023-05-04", "03:12:00"),
        ("2023.05.04", "2023-05-04", ""),
        ("20230504", "2023-05-04", ""),
        ("20230504T031200", "2023-05-04", "03:12:00"),
        ("20230504031200.25", "2023-05-04", "03:12:00.25"),
        ("2023-124T03:12:00", "2023-05-04", "03:12:00"),
        ("4 May 2023 03:12:00", "2023-05-04", "03:12:00"),
        ("04-MAY-2023", "2023-05-04", ""),
        ("Thu May 04 2023 03:12:00", "2023-05-04", "03:12:00"),
        ("May 4, 2023 3:12:00 PM", "2023-05-04", "15:12:00"),
        ("05/14/2023", "2023-05-14", ""),
        ("31/12/98", "1998-12-31", ""),
        ("04/05/23", "2023-05-04", ""),
        ("03-12-00", "", "03:12:00"),
        ("03h12m05s", "", "03:12:05"),
        ("03.12.00", "", "03:12:00"),
        ("12:05 am", "", "00:05:00"),
    ],
)
def test_dates_and_clocks(text, date, clock):
    read = read_time_text(text)
    assert read is not None
    assert (next(iter(read.dates), ""), read.clock) == (date, clock)


@pytest.mark.parametrize(
    "text",
    ["", "60068.1", "2460068.6", "2023-13-40T00:00:00", "20231340", "2023-05-04T25:00:00", "12", "2023", "r", "60.0 s",
     "2023-05-04T03:12:00 MST", "230504", "2023-400"],
)  # fmt: skip
def test_what_is_neither(text):
    assert read_time_text(text) is None


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("T03:12:00Z", 0.0),
        ("T03:12:00-0700", -7.0),
        (" 03:12:00 +05:30", 5.5),
        ("T03:12:00 UTC", 0.0),
        ("T031200+01", 1),
    ],
)
def test_offsets(text, hours):
    read = read_time_text(f"2023-05-04{text}")
    assert read is not None
    assert read.clock == "03:12:00"
    assert read.offset == pytest.approx(hours / 24)


def test_every_day_that_a_date_may_mean():
    read = read_time_text("04/05/23")
    assert read is not None
    assert read.dates == ("2023-05-04", "2023-04-05", "1923-05-04", "1923-04-05")
    assert read.short_year


def test_clocks_as_numbers():
    assert clock_of_hours(3.5) == "03:30:00.000000"
    assert clock_seconds(clock_of_hours(3.46666667)) == pytest.approx(12480.0, abs=1e-3)
    assert clock_of_hours(23.99999999999) == "23:59:59.999999"
