"""The time of an exposure, as headers write it, in UTC."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

from lcframework.types import Doubt, Severity, TimeReference, UnusableInput
from plugins_builtin.shared.clock_cards import (
    CLOCKS,
    DATES,
    DAYS,
    DAYS_OF_SOME_MOMENT,
    RECEIVED,
    START,
    named_moment,
    present,
    said_moment,
    says_local,
    says_universal,
    time_text,
)
from plugins_builtin.shared.header_values import as_number, comment_of, plain_name, text_of
from plugins_builtin.shared.time_places import card_doubts, says_elsewhere
from plugins_builtin.shared.time_scales import time_scale, to_utc
from plugins_builtin.shared.time_texts import TimeText, read_time_text

if TYPE_CHECKING:
    from astropy.io import fits

_EARLIEST, _LATEST = 15_020.0, 88_069.0  # MJD of 1900 and 2100: what lies outside is a clock that was not set
_JD_OF_MJD = 2_400_000.5
_UNIX_EPOCH = 40_587.0  # MJD
_CURE = "name the right keyword by time_keyword in [header.fits], or use a header plugin"
#: Times that are not the observer's, or not of the exposure.
_OF_DAY = re.compile(r"UT|TIME|MID|START|BEG|END|EXP")
_OTHERS = re.compile(r"HJD|BJD|HEL|BARY|LST|REF|EQUI|EPOCH|CREAT|PROC|FILE")


@attrs.frozen
class HeaderTime:
    """A moment, and where it came from.

    Attributes
    ----------
    mjd : float
        UTC.
    reference : TimeReference
        Which moment of the exposure it is.
    keyword : str
        The card that it came from; ``"DATE-OBS+UT"`` where two cards make one.
    local : bool
        Whether its card says that it is a zone's time.
    labelled : bool
        Whether its cards or TIMESYS say in which time scale it is.
    dated : bool
        Whether one card holds the date and the time of day.
    doubts : tuple of Doubt
    """

    mjd: float
    reference: TimeReference
    keyword: str
    local: bool = False
    labelled: bool = False
    dated: bool = True
    doubts: tuple[Doubt, ...] = ()


def header_time(header: fits.Header, keyword: str = "", scale: str = "") -> HeaderTime:
    """Find the time of an exposure.

    Parameters
    ----------
    header : astropy.io.fits.Header
    keyword : str
        The one keyword to read; '' for the first of the usual ones that holds a full date and time. A card that says
        it is in local time is taken where nothing else is there; one that says it is the time at the sun or at the
        barycentre is not.
    scale : str
        A name of :data:`~plugins_builtin.shared.time_scales.SCALES`; '' for the header's TIMESYS, and UTC where it
        has none.

    Raises
    ------
    UnusableInput
        Where there is no usable time, quoting the keywords and their values.
    """
    known_scale, scale = bool(scale), scale or time_scale(header)
    seen, local = [], None
    for candidate, reference in candidates(header, keyword):
        seen.append(f"{candidate} = {text_of(header, candidate)!r}")
        if not keyword and says_elsewhere(header, candidate):
            seen[-1] += f" ({comment_of(header, candidate)}: not the time at the telescope)"
            continue
        found = read_card(header, candidate, reference, scale)
        if found is None:
            continue
        if not time_is_possible(found.mjd):
            raise UnusableInput(f"the time {seen[-1]} {_outside(text_of(header, candidate))}; {_CURE}")
        found = attrs.evolve(found, labelled=found.labelled or known_scale)
        if not found.local or keyword:
            return found
        local = local or found
    if local is not None:
        return local
    offers = other_times(header, seen)
    if not seen:
        looked = keyword or ", ".join([*DATES, *DAYS])
        raise UnusableInput(f"no time in the header: looked for {looked}{offers}; {_CURE}")
    raise UnusableInput(
        f"the exposure's time can't be read (a date and a time of day are needed): {'; '.join(seen)}{offers}; {_CURE}"
    )


def time_is_possible(mjd: float) -> bool:
    """Whether a time lies between 1900 and 2100."""
    return _EARLIEST < mjd < _LATEST


def candidates(header: fits.Header, requested: str = "") -> Iterator[tuple[str, TimeReference]]:
    """Yield the keywords that may hold the time, and which moment each is; the requested one alone, if any."""
    if requested:
        known = {plain_name(k): m for k, m in {**CLOCKS, **DAYS, **DATES}.items()}
        keyword = requested.upper()
        if text_of(header, keyword):
            yield keyword, known.get(plain_name(keyword), named_moment(keyword) or START)
        return
    # UT-OBS and its like are often a time of day alone: those only complete a date.
    for keyword, moment in present(header, {**DATES, **{k: m for k, m in CLOCKS.items() if k not in DATES}}):
        if plain_name(keyword) not in _CLOCK_NAMES or _has_date(text_of(header, keyword)):
            yield keyword, moment
    yield from present(header, DAYS)
    for keyword, moment in present(header, dict.fromkeys(DAYS_OF_SOME_MOMENT, START)):
        if said_moment(header, keyword) is not None:
            yield keyword, moment


_CLOCK_NAMES = {plain_name(k) for k in CLOCKS}


def _has_date(text: str) -> bool:
    read = read_time_text(text)
    return read is not None and bool(read.dates)


def read_card(header: fits.Header, keyword: str, reference: TimeReference, scale: str) -> HeaderTime | None:
    """Return the moment that a card holds, completed by a clock where it is a date alone; None where it holds none."""
    text = text_of(header, keyword)
    read = read_time_text(text)
    number = as_number(text) if read is None else None
    if read is not None and read.dates:
        return _of_text(header, keyword, read, reference, scale)
    if number is None or number <= 0:
        return None
    if number > _JD_OF_MJD:
        number -= _JD_OF_MJD
    elif plain_name(keyword).startswith("JD") and number > _EARLIEST:
        return None  # a Julian date without its first figures: days that begin at noon or at midnight
    if text.isdigit() and time_is_possible(number):
        return None  # a day without a time of day
    mjd = to_utc(number, "mjd", scale)
    if mjd is None:
        return None
    return _told(header, HeaderTime(mjd, reference, keyword), (keyword,))


def _of_text(
    header: fits.Header, keyword: str, read: TimeText, reference: TimeReference, scale: str
) -> HeaderTime | None:
    cards: tuple[str, ...] = (keyword,)
    source, clock, offset, hours = keyword, read.clock, read.offset, False
    if not clock:
        completing = next(_clocks(header), None)
        if completing is None:
            return None
        other, moment, clock_text, hours = completing
        source, cards, clock, offset = f"{keyword}+{other}", (other, keyword), clock_text.clock, clock_text.offset
        reference = moment if named_moment(other) else reference
    # A clock called UT is in UT, whatever time scale the rest of the header is in.
    if offset is not None or any(says_universal(header, card) for card in cards[:1]):
        scale = "utc"
    moments = [to_utc(f"{date}T{clock}", "isot", scale) for date in read.dates]
    readings = [m - (offset or 0.0) for m in moments if m is not None]
    if not readings:
        return None
    mjd, doubts = _chosen(header, keyword, read, readings)
    if hours:
        doubts += (_HOURS,)
    return _told(header, HeaderTime(mjd, reference, source, dated=len(cards) == 1, doubts=doubts), cards)


_HOURS = Doubt(
    "clock_without_unit", "the time of day is a number without a unit, and was taken for hours",
    "Compare the clocks that `lcf headers` lists, and set time_keyword in [header.fits] if it is not in hours",
)  # fmt: skip


def _clocks(header: fits.Header) -> Iterator[tuple[str, TimeReference, TimeText, bool]]:
    """Yield the times of day in a header: those that say they are local last."""
    found = [(k, m, *time_text(header, k)) for k, m in present(header, CLOCKS)]
    clocks = [(k, m, t, h) for k, m, t, h in found if t is not None and t.clock and not t.dates]
    yield from sorted(clocks, key=lambda c: says_local(header, c[0]))


def _told(header: fits.Header, time: HeaderTime, cards: tuple[str, ...]) -> HeaderTime:
    """Return a time with what its cards' comments say: which moment it is, and whose zone."""
    reference, doubts = time.reference, (*time.doubts, *(d for card in cards for d in card_doubts(header, card)))
    if not any(named_moment(card) for card in cards):
        said = next(((c, m) for c in cards if (m := said_moment(header, c)) is not None), None)
        if said is not None:
            reference = said[1]
            if RECEIVED.search(comment_of(header, said[0])) and reference is TimeReference.END:
                doubts += (_received(said[0], comment_of(header, said[0])),)
    return attrs.evolve(
        time, reference=reference, doubts=doubts, local=any(says_local(header, c) for c in cards),
        labelled=any(says_universal(header, c) for c in cards) or bool(text_of(header, "TIMESYS")),
    )  # fmt: skip


def _received(keyword: str, comment: str) -> Doubt:
    return Doubt(
        "time_of_receipt",
        f'{keyword} is when the frame was received, as its comment says ("{comment}"): taken as the end of the '
        "exposure, it is late by the read-out and the transfer",
        "Measure that delay if times must be better",
        severity=Severity.NOTE,
    )


def _chosen(
    header: fits.Header, keyword: str, read: TimeText, readings: list[float]
) -> tuple[float, tuple[Doubt, ...]]:
    """Return which of the days that a date may mean is right by the header's other cards, and what is left to doubt."""
    if len(readings) == 1:
        return readings[0], ()
    for other in _plain_times(header, keyword):
        near = [r for r in readings if abs(r - other) < 1.5]
        if len(near) == 1:
            return near[0], ()
    text = text_of(header, keyword)
    doubts: tuple[Doubt, ...] = ()
    chosen = readings[0]
    last_century = read.short_year and not any(date.startswith("20") for date in read.dates)
    two_orders = len({date[5:] for date in read.dates}) > 1
    if two_orders and (order := _ORDER.search(comment_of(header, keyword))):
        chosen = readings[(order["month"] is not None) is not read.month_first]
    elif two_orders and not last_century:  # then the standard had dd/mm/yy
        doubts += (
            Doubt("ambiguous_date",
                  f"{keyword} = {text!r} may be day/month or month/day, and was read as {_order(read)}",
                  "Name a keyword with an unambiguous time by time_keyword in [header.fits], or use a header plugin"),
        )  # fmt: skip
    if read.short_year and not last_century:
        doubts += (
            Doubt("short_year", f"{keyword} = {text!r} has a year of two figures, which was taken for one after 2000",
                  "Use a header plugin if it is one before", severity=Severity.NOTE),
        )  # fmt: skip
    return chosen, doubts


#: How a comment says that month and day stand: mm/dd/yyyy, days/month/year.
_ORDER = re.compile(r"\b(?:(?P<month>mm|months?)\s*[-/.]\s*(?:dd|days?)|(?:dd|days?)\s*[-/.]\s*(?:mm|months?))\b", re.I)


def _order(read: TimeText) -> str:
    return "month/day" if read.month_first else "day/month"


def _plain_times(header: fits.Header, besides: str) -> Iterator[float]:
    """Yield the times of a header whose day is beyond doubt; that of the file's writing last."""
    for name in [k for k, _ in present(header, {**DAYS, **DATES, "DATE": START}) if k != besides]:
        text = text_of(header, name)
        read, number = read_time_text(text), as_number(text)
        if read is not None and len(read.dates) == 1:
            mjd = to_utc(f"{read.dates[0]}T{read.clock or '12:00:00'}", "isot", "utc")
            if mjd is not None:
                yield mjd
        elif read is None and number is not None:
            yield number - _JD_OF_MJD if number > _JD_OF_MJD else number


def other_times(header: fits.Header, seen: Sequence[str]) -> str:
    """Return the header's other cards that look like times, for a message."""
    found = []
    for keyword in dict.fromkeys(header):
        text = text_of(header, keyword)
        plain = plain_name(keyword)
        if not text or _OTHERS.search(plain) or {keyword, f"{keyword} = {text!r}"} & set(seen):
            continue
        read, number = read_time_text(text), as_number(text)
        if read is not None and read.clock:
            looks = bool(read.dates) or (plain not in _CLOCK_NAMES and _OF_DAY.search(plain) is not None)
        else:
            day = (number or 0.0) - (_JD_OF_MJD if (number or 0.0) > _JD_OF_MJD else 0.0)
            looks = number is not None and "JD" in plain and _EARLIEST < day < _LATEST
        if looks:
            found.append(f"{keyword} = {text!r}" + (" (when the file was written?)" if keyword == "DATE" else ""))
    if not found:
        return ""
    return f". These look like times: {', '.join(found[:8])}: if one is the exposure's, name it, and which moment it is"


def _outside(text: str) -> str:
    """Say what a time that no exposure can have looks like."""
    number = as_number(text)
    if number is None or number == 0:
        return "lies outside 1900 to 2100: the camera's clock was not set"
    if _EARLIEST < number / 86_400.0 + _UNIX_EPOCH < _LATEST and number > 1e8:
        return "is no date: it looks like seconds since 1970"
    if 1900 < number < 2100:
        return "is no date: it looks like a year with decimals"
    if 1e4 < number < 1e6 and re.fullmatch(r"\d{6}", text):
        return "is no date: it looks like a year, a month and a day of two figures each"
    if re.match(r"(?:19|20)\d{6}", text):
        return "is no date: it looks like a year, a month and a day with decimals"
    return "is a number, but neither a date as 20240301 nor a Julian date, modified or not, of 1900 to 2100"
