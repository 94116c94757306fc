"""Durations and times of day as people write them on a command line."""

from __future__ import annotations

import datetime as dt
import re

_UNITS = {"": 1.0, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)", re.IGNORECASE)
_TIME_OF_DAY = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")


def seconds_of(text: str) -> float:
    """Return a duration in seconds: ``"90"``, ``"90s"``, ``"10min"``, ``"1.5h"``.

    Raises
    ------
    ValueError
        Says what is allowed.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or match[2].lower() not in _UNITS:
        raise ValueError(f'"{text}" is no duration: write 90, 90s, 10min or 1.5h')
    return float(match[1]) * _UNITS[match[2].lower()]


def moment_of(text: str, now: dt.datetime) -> dt.datetime:
    """Return a moment: a time of day, of which the next is meant, or a date and time.

    Parameters
    ----------
    text : str
        ``"06:30"``, ``"2026-01-31T06:30"`` or ``"2026-01-31T06:30Z"``; without a zone it is local time.
    now : datetime
        With a time zone, in which a text without a zone is understood.

    Raises
    ------
    ValueError
        Where it is neither, or has passed.
    """
    text = text.strip()
    if _TIME_OF_DAY.fullmatch(text):
        try:
            moment = dt.datetime.combine(now.date(), dt.time.fromisoformat(text.zfill(5 if len(text) < 6 else 8)))
        except ValueError as error:
            raise ValueError(f'"{text}" is no time of day: {error}') from None
        moment = moment.replace(tzinfo=now.tzinfo)
        return moment if moment > now else moment + dt.timedelta(days=1)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f'"{text}" is no time: write 06:30, 2026-01-31T06:30, or 2026-01-31T06:30Z for UTC') from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
    if moment <= now:
        raise ValueError(f"{text} has passed")
    return moment
