"""Times that a frame can have."""

import pytest

from lcframework.sky.times import check_time, time_is_odd
from lcframework.types import UnusableInput


@pytest.mark.parametrize(
    ("mjd", "words"),
    [
        (2460310.75, "outside 1900 to 2100; it looks like a Julian date, and would be MJD 60310.25000"),
        (1704088800.0, "it looks like seconds since 1970, and would be MJD 60310.25"),
        (0.0, r"MJD 0, lies outside 1900 to 2100\. Name the right keyword"),
        (-1e6, "MJD -1000000, lies"), (1e300, "1e"),
    ],
)  # fmt: skip
def test_times_that_no_frame_can_have(mjd, words):
    with pytest.raises(UnusableInput, match=words):
        check_time(mjd)


def test_odd_times():
    for mjd, odd in ((20000.0, True), (41316.0, True), (41400.0, False), (60310.0, False), (88000.0, True)):
        check_time(mjd)
        assert time_is_odd(mjd) == odd
