"""Interpretation of header cards of unknown origin: times, and keywords that may contain a quantity."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Any

from astropy.io import fits

from lcframework.sky.times import EARLIEST, LATEST

#: Quantity -> patterns of keywords that may contain it, best first.
LOOKS = {
    "exptime": (r"^EXPTIME$", r"^EXPOSURE$", r"^(TOT|X|ITIME|INT)?.?EXP", r"^(I|INT)TIME", r"SHUT"),
    "gain": (r"^E.?GAIN$", r"^GAIN$", r"GAIN", r"CVF|CONAD|E.?PER.?ADU|EPADU"),
    "read_noise": (r"^RDNOISE$|^READNOI", r"R(EA)?D.?NOI", r"\bRON\b|^RON", r"RDNS?(_?\d+)?$"),
    "saturation": (r"^SATURATE$", r"SATUR|SATLEV|MAXLIN|FULLWELL"),
    "band": (r"^FILTER$", r"FILT", r"^BAND"),
    "site": (r"^OBSERVAT", r"^SITE"),
}
_TEXTS = ("band", "site")
#: Keywords whose unit is seconds, by FITS and habit.
_IN_SECONDS = ("EXPTIME", "EXPOSURE", "XPOSURE", "TEXPTIME", "TELAPSE")
_MOMENT = re.compile(r"(?P<start>BEG|START)|(?P<mid>AVG|MID)|(?P<end>END)")
_MOMENT_IN_WORDS = re.compile(
    r"\b(?:(?P<start>start|beg[ia]n|shutter open)|(?P<mid>mid(?!night|as\b)|centre\b|center\b)|"
    r"(?P<end>end|stop|shutter clos|received|downloaded))", re.IGNORECASE,
)  # fmt: skip
_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}$")
_CLOCK = re.compile(r"^\d{1,2}:\d{2}(:\d{2}(\.\d*)?)?$")
_DATE_TIME = re.compile(r"^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2})?)(\.\d+)?\s*(Z|[+-]\d{2}:?\d{2})?$")
_OF_DAY = re.compile(r"UT|TIME|MID|START|BEG|END|LOC|CLOCK|EXP")
_SIDEREAL = re.compile(r"LST|SIDER|^ST$")
_EPOCH = dt.datetime(1858, 11, 17)


def read_text_time(text: str) -> float | None:
    """Return the MJD of an ISO 8601 date and time, converted to UTC where it has an offset; None for other texts."""
    match = _DATE_TIME.match(text.strip())
    if match is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(f"{match[1]}T{match[2]}")
        offset = dt.datetime.strptime(match[4], "%z").utcoffset() if match[4] and match[4] != "Z" else None
    except ValueError:
        return None
    days = (moment - _EPOCH - (offset or dt.timedelta())) / dt.timedelta(days=1)
    return days + float(match[3] or 0.0) / 86400.0


def time_cards(header: fits.Header) -> dict[str, float]:
    """Return all times in a header as MJD, by keyword; ``"DATE+CLOCK"`` where two keywords give one time."""
    found: dict[str, float] = {}
    dates: dict[str, str] = {}
    clocks: dict[str, str] = {}
    for key, value in _cards(header):
        text = str(value).strip()
        if isinstance(value, str) and (mjd := read_text_time(text)) is not None:
            found[key] = mjd
        elif isinstance(value, str) and _DATE.match(text) and "OBS" in key:
            dates[key] = text
        elif isinstance(value, str) and _CLOCK.match(text) and re.search(r"UT|TIME", key):
            clock = text.rstrip(".") if text.count(":") == 2 else f"{text}:00"
            clocks[key] = clock if clock[2] == ":" else f"0{clock}"
        elif key.startswith(("MJD", "JD")) and (number := as_number(value)) is not None:
            found[key] = number - 2_400_000.5 if number > 2_400_000.5 else number
    for day, date in dates.items():
        for key, clock in clocks.items():
            if (mjd := read_text_time(f"{date}T{clock}")) is not None:
                found[f"{day}+{key}"] = mjd
    return {k: v for k, v in found.items() if EARLIEST < v < LATEST and not re.search(r"^DATE$|PROC|FILE|CREAT", k)}


def clock_cards(header: fits.Header) -> dict[str, float]:
    """Return the times of day that stand alone in a header, by keyword, in days."""
    found = {}
    for key, value in _cards(header):
        text = str(value).strip()
        if isinstance(value, str) and _CLOCK.match(text) and _OF_DAY.search(key) and not _SIDEREAL.search(key):
            hours, minutes, *seconds = (float(part) for part in text.split(":"))
            found[key] = (hours + minutes / 60.0 + (seconds[0] if seconds else 0.0) / 3600.0) / 24.0
    return found


def stated_moment(header: fits.Header, source: str) -> tuple[str, str]:
    """Return which moment of the exposure a time's keyword or comment states, and its source; empty texts for none."""
    for key in source.split("+"):
        if match := _MOMENT.search(key):
            return str(match.lastgroup), f"the keyword {key}"
    for key in source.split("+"):
        comment = str(header.comments[key]) if key in header else ""
        if match := _MOMENT_IN_WORDS.search(comment):
            return str(match.lastgroup), f'the comment of {key}, "{comment}"'
    return "", ""


def looks_like(headers: Sequence[fits.Header], quantity: str) -> list[str]:
    """Return the keywords, present in all headers, that may contain a quantity; the most likely first."""
    found = []
    for pattern in LOOKS[quantity]:
        for key, value in _cards(headers[0]):
            usable = bool(str(value).strip()) if quantity in _TEXTS else (as_number(value) or 0.0) > 0
            if re.search(pattern, key) and usable and key not in found and all(key in h for h in headers):
                found.append(key)
    return found


def exposure_unit(header: fits.Header, key: str) -> tuple[float, bool]:
    """Return how many seconds an exposure time's unit is, and whether the header, or FITS itself, states it.

    The comment counts first; ``EXPTIME`` and its like are in seconds by convention; a name that ends in ``MS`` makes
    milliseconds likely, and nothing sure.
    """
    comment = str(header.comments[key]).lower()
    if re.search(r"\bms\b|msec|millisec", comment):
        return 1e-3, True
    if re.search(r"\bmin(utes?)?\b", comment):
        return 60.0, True
    if re.search(r"\bs\b|\bsec(s|onds?)?\b", comment) or key in _IN_SECONDS:
        return 1.0, True
    return (1e-3 if re.search(r"MS(EC)?$|MILLI", key) else 1.0), False


def text_of(header: fits.Header, key: str) -> str:
    """Return a keyword's value as stripped text; '' where it is missing or can't be read."""
    return next((str(v).strip() for k, v in _cards(header) if k == key), "")


def as_number(value: Any) -> float | None:
    """Return a value as a number, or None where it is none."""
    if isinstance(value, bool):
        return None
    try:
        return float(str(value).strip())
    except ValueError:
        return None


def _cards(header: fits.Header) -> list[tuple[str, Any]]:
    """Return (keyword, value) of all cards that can be read."""
    out = []
    for card in header.cards:
        try:
            key, value = card.keyword, card.value
        except (fits.VerifyError, ValueError):
            continue
        if key and key not in ("COMMENT", "HISTORY") and not isinstance(value, fits.card.Undefined):
            out.append((key, value))
    return out
