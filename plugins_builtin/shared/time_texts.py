"""Dates and times of day in the many ways in which headers write them."""

from __future__ import annotations

import datetime as dt
import re

import attrs

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAME = rf"(?P<name>(?:{'|'.join(_MONTHS)})[a-z]*)\.?"
#: How a text begins that begins with a date.
_DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?P<year>\d{4})(?P<s>[-/.:])\s*(?P<month>\d{1,2})(?P=s)\s*(?P<day>\d{1,2})(?!\d)",
        r"(?P<year>(?:19|20)\d\d)(?P<month>\d\d)(?P<day>\d\d)(?=$|[T _.-]|\d{6}(?:\.\d*)?$)",
        r"(?P<year>\d{4})[-:](?P<of_year>\d{3})(?!\d)",
        rf"(?P<day>\d{{1,2}})[-/ .]{{1,2}}{_NAME}[-/ ,]{{1,2}}(?P<year>\d{{4}})(?!\d)",
        rf"(?P<day>\d{{1,2}}){_NAME}(?P<year>\d{{4}})(?!\d)",
        rf"{_NAME}\s+(?P<day>\d{{1,2}}),?\s+(?P<year>\d{{4}})(?!\d)",
        r"(?P<first>\d{1,2})(?P<s>[/.-])(?P<second>\d{1,2})(?P=s)(?P<year>\d{4})(?!\d)",
        r"(?P<first>\d{1,2})/(?P<second>\d{1,2})/(?P<year>\d{2})(?!\d)",
    )
)
_WEEKDAY = re.compile(r"^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+", re.IGNORECASE)
_SECONDS = r"(?P<seconds>\d{1,2}(?:[.,]\d*)?)"
_CLOCKS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<hours>\d{{1,2}}):\s*(?P<minutes>\d{{1,2}})(?::\s*{_SECONDS})?\s*(?:(?P<half>[ap])\.?m\.?)?",
        rf"(?P<hours>\d{{1,2}})\s*h\s*(?P<minutes>\d{{1,2}})\s*m(?:in)?\s*(?:{_SECONDS}\s*s?)?",
        rf"(?P<hours>\d{{1,2}})(?P<s>[- _.])(?P<minutes>\d{{2}})(?P=s){_SECONDS}",
    )
)
_COMPACT = re.compile(r"(?P<hours>\d{2})(?P<minutes>\d{2})(?P<seconds>\d{2}(?:[.,]\d*)?)?")
_OFFSET = re.compile(r"\s*(?P<zone>Z|UTC?|GMT|(?P<sign>[+-])(?P<h>\d{2})(?::?(?P<m>\d{2}))?)$", re.IGNORECASE)
#: The last two-digit year of this century: the convention that wrote those of the last one ended in 1999.
LAST_SHORT_YEAR = 50


@attrs.frozen
class TimeText:
    """What a text says of a moment.

    Attributes
    ----------
    dates : tuple of str
        The days that it may mean, ISO 8601, the likeliest first; empty where it is a time of day alone.
    clock : str
        The time of day as hh:mm:ss.s; empty where it has none.
    offset : float or None
        Days by which the clock is ahead of UTC, where the text says so.
    short_year : bool
        Whether the year has two digits.
    month_first : bool
        Whether figures were read as month and day, as those write them who halve days into am and pm.
    """

    dates: tuple[str, ...]
    clock: str
    offset: float | None
    short_year: bool = False
    month_first: bool = False


def read_time_text(text: str) -> TimeText | None:
    """Return what a text says of a moment; None where it is neither a date nor a time of day."""
    text = _WEEKDAY.sub("", text.strip())
    for pattern in _DATES:
        match = pattern.match(text)
        dates = _days(match) if match else ()
        if match is None or not dates:
            continue
        rest = text[match.end() :]
        short = len(match["year"]) == 2
        if not rest.strip():
            return TimeText(dates, "", None, short)
        parted = re.match(r"^(?:\s*T\s*|\s*[ ,;_:-]\s*|(?=\d{6}))(?P<clock>.+)$", rest, re.IGNORECASE)
        clock, offset = _clock(parted["clock"], compact=True) if parted else ("", None)
        if not clock:
            return None
        american = "first" in match.groupdict() and re.search(r"\d\s*[ap]\.?m\.?$", rest, re.IGNORECASE) is not None
        if american:  # who halves days puts months first
            dates = _days(match, month_first=True)
        return TimeText(dates, clock, offset, short, american)
    clock, offset = _clock(text, compact=False)
    return TimeText((), clock, offset) if clock else None


def clock_seconds(clock: str) -> float:
    """Return the seconds since midnight of a clock as :class:`TimeText` has it."""
    hours, minutes, seconds = clock.split(":")
    return 3600.0 * int(hours) + 60.0 * int(minutes) + float(seconds)


def clock_of_hours(hours: float) -> str:
    """Return decimal hours as a clock."""
    microseconds = min(round(hours * 3.6e9), 86_400_000_000 - 1)
    minutes, rest = divmod(microseconds, 60_000_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest / 1e6:09.6f}"


def _days(match: re.Match[str], month_first: bool = False) -> tuple[str, ...]:
    """Return the days that a date may mean; of a day and a month in figures, the day comes first in most countries."""
    parts = match.groupdict()
    years = [int(parts["year"])]
    if len(parts["year"]) == 2:
        recent = years[0] <= LAST_SHORT_YEAR
        years = [2000 + years[0], 1900 + years[0]] if recent else [1900 + years[0]]
    if parts.get("of_year"):
        try:
            day = dt.date(years[0], 1, 1) + dt.timedelta(days=int(parts["of_year"]) - 1)
        except (ValueError, OverflowError):
            return ()
        return (day.isoformat(),) if day.year == years[0] else ()
    if parts.get("first"):
        first, second = int(parts["first"]), int(parts["second"])
        orders = [(first, second), (second, first)] if month_first else [(second, first), (first, second)]
    else:
        orders = [
            (
                _MONTHS.index(parts["name"][:3].lower()) + 1 if parts.get("name") else int(parts["month"]),
                int(parts["day"]),
            )
        ]
    found = []
    for year in years:
        for month, day_of_month in orders:
            try:
                found.append(dt.date(year, month, day_of_month).isoformat())
            except ValueError:
                continue
    return tuple(dict.fromkeys(found))


def _clock(text: str, compact: bool) -> tuple[str, float | None]:
    """Return a text's time of day and its offset from UTC in days; empty and None where it is none."""
    text = text.strip()
    offset = _OFFSET.search(text)
    for end in (offset.start(), len(text)) if offset else (len(text),):
        for pattern in (*_CLOCKS, _COMPACT) if compact else _CLOCKS:
            match = pattern.fullmatch(text[:end].strip())
            if match is not None and (clock := _iso_clock(match)):
                return clock, _ahead(offset) if offset and end < len(text) else None
    return "", None


def _iso_clock(match: re.Match[str]) -> str:
    parts = match.groupdict()
    hours, minutes = int(parts["hours"]), int(parts["minutes"])
    half = (parts.get("half") or "").lower()
    if half:
        if not 1 <= hours <= 12:
            return ""
        hours = hours % 12 + (12 if half == "p" else 0)
    seconds = (parts["seconds"] or "0").replace(",", ".").rstrip(".")
    if hours > 23 or minutes > 59 or float(seconds) >= 61.0:
        return ""
    whole, _, fraction = seconds.partition(".")
    return f"{hours:02d}:{minutes:02d}:{int(whole):02d}" + (f".{fraction}" if fraction else "")


def _ahead(match: re.Match[str]) -> float:
    if not match["sign"]:
        return 0.0
    minutes = 60 * int(match["h"]) + int(match["m"] or 0)
    return (-1 if match["sign"] == "-" else 1) * minutes / 1440.0
