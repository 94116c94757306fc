"""The time of an exposure, as headers write it, in UTC."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs

from lcframework.types import TimeReference
from plugins_builtin.shared.header_values import as_number, text_of

if TYPE_CHECKING:
    from astropy.io import fits

#: Names of time scales (TIMESYS, the FITS standard's table 30) and astropy's for them. GPS runs 19 s behind TAI.
SCALES = {
    "utc": "utc", "gmt": "utc", "ut": "utc", "ut1": "ut1", "tai": "tai", "iat": "tai", "gps": "tai",
    "tt": "tt", "tdt": "tt", "et": "tt", "tdb": "tdb", "tcb": "tcb", "tcg": "tcg",
}  # fmt: skip
_GPS_BEHIND_TAI = 19.0  # s

START, MID, END = TimeReference.START, TimeReference.MID, TimeReference.END
#: Dates and the moment that each is, best first: those with a definite moment and time scale.
DATES = {
    "DATE-AVG": MID, "DATE-BEG": START, "UT-OBS": START, "DATE-OBS": START, "DATE_OBS": START, "UTSTART": START,
    "OBSTART": START, "DATE-END": END,
}  # fmt: skip
#: Days, used where no date has a time: they are often rounded.
DAYS = {
    "MJD-AVG": MID, "MJD-MID": MID, "MJD-BEG": START, "MJD-OBS": START, "MJD": START, "MJD-END": END,
    "JD-OBS": START, "JD": START,
}  # fmt: skip
#: Times of day that complete a date without one.
CLOCKS = ("UT-OBS", "TIME-OBS", "TIME-BEG", "UTC-OBS", "UTSTART", "UT", "UTC", "EXPSTART")

_DATE = re.compile(
    r"^(?P<date>\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}/\d{1,2}/\d{2})"
    r"(?:[T ]\s*(?P<time>\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d*)?)?)"
    r"\s*(?P<offset>Z|z|UTC?|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})?)?$"
)
_CLOCK = re.compile(r"^\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d*)?)?$")
_EARLIEST, _LATEST = 15_020.0, 88_069.0  # MJD of 1900 and 2100: what lies outside is a clock that was not set


@attrs.frozen
class HeaderTime:
    """A moment, and where it came from."""

    mjd: float  # UTC
    reference: TimeReference
    keyword: str


def header_time(header: fits.Header, keyword: str = "", scale: str = "") -> HeaderTime:
    """Find the time of an exposure.

    Parameters
    ----------
    header : astropy.io.fits.Header
    keyword : str
        The one keyword to read; '' for the first of the usual ones that holds a full date and time.
    scale : str
        A name of :data:`SCALES`; '' for the header's TIMESYS, and UTC where it has none.

    Raises
    ------
    ValueError
        Where there is no usable time, quoting the keywords and their values.
    """
    time_scale = scale or (text_of(header, "TIMESYS") or "utc").split("(")[0].strip().lower()
    if time_scale not in SCALES:
        raise ValueError(f"the header's time scale TIMESYS = {header['TIMESYS']!r} is none of {', '.join(SCALES)}")
    seen = []
    for candidate, reference in _candidates(header, keyword):
        value = text_of(header, candidate)
        seen.append(f"{candidate} = {value!r}")
        source, mjd = _read(header, candidate, value, time_scale)
        if mjd is None:
            continue
        if not _EARLIEST < mjd < _LATEST:
            raise ValueError(
                f"the time {candidate} = {value!r} lies outside 1900 to 2100: the camera's clock was not set"
            )
        return HeaderTime(mjd, reference, source)
    if not seen:
        looked = keyword or ", ".join([*DATES, *DAYS])
        raise ValueError(f"no time in the header: looked for {looked}")
    raise ValueError(f"the exposure's time can't be read (a date and a time of day are needed): {'; '.join(seen)}")


def _candidates(header: fits.Header, requested: str) -> Iterator[tuple[str, TimeReference]]:
    """Yield the keywords that may hold the time, and which moment each is; the requested one alone, if any."""
    known = {**DATES, **DAYS}
    references = {requested.upper(): known.get(requested.upper(), START)} if requested else known
    for keyword, reference in references.items():
        value = text_of(header, keyword)
        # UT-OBS and its like are often a time of day alone: those only complete a date.
        if value and not (not requested and keyword in CLOCKS and _CLOCK.match(value)):
            yield keyword, reference


def _read(header: fits.Header, keyword: str, value: str, scale: str) -> tuple[str, float | None]:
    """Return the keywords used and the MJD in UTC; None where the value holds no full time."""
    number = as_number(value)
    if number is not None:
        if number > 2_400_000.5:
            number -= 2_400_000.5
        return keyword, _to_utc(number, "mjd", scale) if number > 0 else None
    parts = _DATE.match(value)
    if parts is None:
        return keyword, None
    date, clock, offset = parts["date"], parts["time"], parts["offset"] or ""
    source = keyword
    if clock is None:
        completing = next(((k, t) for k in CLOCKS if _CLOCK.match(t := text_of(header, k))), None)
        if completing is None:
            return keyword, None
        source, clock = f"{keyword}+{completing[0]}", completing[1]
        # A clock called UT is in UT, whatever time scale the rest of the header is in.
        scale = "utc" if completing[0].startswith("UT") else scale
    if keyword.startswith("UT") or offset:
        scale = "utc"
    moment = _to_utc(f"{_iso_date(date)}T{_iso_clock(clock)}", "isot", scale)
    return source, moment if moment is None else moment - _offset_days(offset)


def _to_utc(value: Any, form: str, scale: str) -> float | None:
    from astropy.time import Time, TimeDelta

    with warnings.catch_warnings():
        # Beyond the published leap seconds times are right to a second, and such years are noticed in a light curve.
        warnings.simplefilter("ignore")
        try:
            time = Time(value, format=form, scale=SCALES[scale])
            if scale == "gps":
                time = time + TimeDelta(_GPS_BEHIND_TAI, format="sec")
            return float(time.utc.mjd)
        except ValueError:
            return None


def _iso_date(text: str) -> str:
    """Dates before 2000 were written dd/mm/yy."""
    if re.match(r"^\d{1,2}/\d{1,2}/\d{2}$", text):
        day, month, year = (int(p) for p in text.split("/"))
        return f"19{year:02d}-{month:02d}-{day:02d}"
    year, month, day = (int(p) for p in re.split("[-/]", text))
    return f"{year:04d}-{month:02d}-{day:02d}"


def _iso_clock(text: str) -> str:
    clock = text.replace(",", ".").rstrip(".").zfill(len(text) if text[1] != ":" else len(text) + 1)
    return clock if clock.count(":") == 2 else f"{clock}:00"


def _offset_days(text: str) -> float:
    digits = re.sub(r"\D", "", text)
    if not digits:
        return 0.0
    minutes = 60 * int(digits[:2]) + int(digits[2:4] or 0)
    return (-1 if text.startswith("-") else 1) * minutes / 1440.0
