"""Dates and times in texts of headers."""

from __future__ import annotations

import pytest

from lcframework.frames.header_cards import read_text_time

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
