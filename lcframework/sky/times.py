"""Checks of the times of frames."""

from __future__ import annotations

import time

from lcframework.types import UnusableInput

#: MJD of 1900 and of 2100: the ephemerides hold between them, and no frame was taken outside.
EARLIEST, LATEST = 15_020.0, 88_069.0
#: MJD of 1972, before which there was no UTC as it is now.
UTC_BEGAN = 41_317.0
#: MJD of 1970, from which computers count.
_UNIX_EPOCH = 40_587.0


def check_time(mjd: float) -> None:
    """Refuse a time that no frame can have.

    Raises
    ------
    UnusableInput
        States what the number looks like, such as a Julian date.
    """
    if EARLIEST <= mjd <= LATEST:
        return
    looks = ""
    if EARLIEST <= mjd - 2_400_000.5 <= LATEST:
        looks = f"; it looks like a Julian date, and would be MJD {mjd - 2_400_000.5:.5f}"
    elif EARLIEST <= mjd / 86_400.0 + _UNIX_EPOCH <= LATEST and mjd > 1e8:
        looks = f"; it looks like seconds since 1970, and would be MJD {mjd / 86_400.0 + _UNIX_EPOCH:.5f}"
    raise UnusableInput(
        f"its time, MJD {mjd:.10g}, lies outside 1900 to 2100{looks}. Name the right keyword by time_keyword in "
        "[header.fits], or correct the header parser"
    )


def time_is_odd(mjd: float) -> bool:
    """Return whether a time is possible but unusual: before UTC began, or in the future."""
    return mjd < UTC_BEGAN or mjd > time.time() / 86_400.0 + _UNIX_EPOCH + 1.0
