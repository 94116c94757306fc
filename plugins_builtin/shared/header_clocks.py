"""The clocks of a header beside the one that is used: where they disagree, and what it is where that one is local."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from lcframework.types import Doubt, Severity, TimeReference, UnusableInput
from plugins_builtin.shared.clock_cards import (
    BARE_CLOCK,
    CLOCKS,
    DATES,
    DAYS,
    may_be_a_day,
    named_moment,
    present,
    said_moment,
    says_local,
    says_universal,
    time_text,
)
from plugins_builtin.shared.header_times import HeaderTime, other_times, read_card, time_is_possible
from plugins_builtin.shared.header_values import as_number, by_plain_name, text_of
from plugins_builtin.shared.time_places import says_elsewhere
from plugins_builtin.shared.time_scales import time_scale
from plugins_builtin.shared.time_texts import clock_seconds
from plugins_builtin.shared.time_zones import zone_of

if TYPE_CHECKING:
    from astropy.io import fits

_DAY = 86_400.0
_WEST, _EAST = 12 * 3600.0, 14 * 3600.0
#: Clocks of one header, read one after the other, agree to this, s.
_AGREEMENT = 10.0
#: Clocks that are known less well than this tell no zone, s.
_ZONE_TOLERANCE = 100.0
_MOMENTS = {
    TimeReference.MID: ", if it is the middle of the exposure", TimeReference.END: ", if it is the end of the exposure",
}  # fmt: skip
_CURE = "Name the right one by time_keyword in [header.fits], or set its zone right by a header plugin"


@attrs.frozen
class Clock:
    """Another clock of a header.

    Attributes
    ----------
    keyword : str
    offset : float
        Seconds by which it is after the time used, where both are brought to the start of the exposure. That of a time
        of day alone is between -12 and 12 hours.
    tolerance : float
        To how many seconds it should agree.
    universal : bool
        Whether it says that it is in UT.
    dated : bool
        Whether it holds a date.
    reference : TimeReference
        Which moment of the exposure it is by its name or comment.
    exptime : float
        s.
    """

    keyword: str
    offset: float
    tolerance: float
    universal: bool
    dated: bool
    reference: TimeReference
    exptime: float

    @property
    def named(self) -> bool:
        """Whether its name says that it is the start or the middle, and nothing else."""
        return named_moment(self.keyword) in (TimeReference.START, TimeReference.MID)

    @property
    def agrees(self) -> bool:
        """Whether it is the same time: the exposure's start, middle or end, or the read-out's end after it."""
        if self.is_zones:
            return False
        if self.reference is TimeReference.END:  # the exposure time is compared with a date of the end elsewhere
            early = self.exptime if self.dated else 0.0
            return -early - self.tolerance <= self.offset <= self.exptime + self.tolerance
        if self.named:
            return abs(self.offset) <= self.tolerance
        return any(abs(self.offset - late) <= self.tolerance for late in self._moments)

    @property
    def within(self) -> bool:
        """Whether it lies within the exposure."""
        return -self.tolerance <= self.offset <= self.exptime + self.tolerance and not self.is_zones

    @property
    def shifts(self) -> tuple[float, ...]:
        """What turns a zone's time to this one, s: the exact first, then those if this is the middle or end."""
        found = (-zone_of(late - self.offset, self._zones_tolerance, self.dated) for late in self._moments)
        return tuple(dict.fromkeys(shift for shift in found if shift != 0.0))

    @property
    def is_zones(self) -> bool:
        """Whether it is off by what a zone's time is off, ahead or behind."""
        if abs(self.offset) <= self.tolerance:
            return False
        return any(
            zone_of(sign * (self.offset - late), self._zones_tolerance, self.dated) for late in self._moments
            for sign in (1, -1)
        )  # fmt: skip

    @property
    def _moments(self) -> tuple[float, ...]:
        """The seconds after the start at which a clock may have been read."""
        return 0.0, 0.5 * self.exptime, self.exptime

    @property
    def _zones_tolerance(self) -> float:
        return self.tolerance if self.tolerance <= _ZONE_TOLERANCE else -1.0


def settled_time(header: fits.Header, time: HeaderTime, exptime: float) -> HeaderTime:
    """Return the time by all clocks of a header: turned to UT where its own is local, and with what is doubtful.

    Parameters
    ----------
    header : astropy.io.fits.Header
    time : HeaderTime
        As :func:`~plugins_builtin.shared.header_times.header_time` found it by itself.
    exptime : float
        s.

    Raises
    ------
    UnusableInput
        Where the only time is local by its own comment, and no clock in UT is there.
    """
    clocks = other_clocks(header, time, exptime)
    universal = [c for c in clocks if c.universal]
    # Between start and end there may be more than an exposure: coadds, read-outs.
    turning = [c for c in universal if c.reference is not TimeReference.END]
    shifts = {c.shifts[0] if c.shifts and not c.agrees else 0.0 for c in turning}
    if not time.labelled and len(shifts) == 1 and (shift := shifts.pop()) != 0.0:
        return _turned(time, clocks, turning[0], shift)
    if time.local:
        if universal and all(c.agrees for c in universal):
            return time
        raise UnusableInput(
            f"the time {time.keyword} is local, as its comment says, and no clock in UT is there that turns it to UTC"
            f"{other_times(header, [time.keyword])}; name the right keyword by time_keyword in [header.fits], or "
            "convert it in a function of header_parser/parse_header.py"
        )
    wrong = [c for c in clocks if not c.agrees and not _is_local(header, c)]
    if time.labelled:  # another that does not say so is local, where it is off by what zones are off
        wrong = [c for c in wrong if c.universal or not c.is_zones]
    if wrong:
        return attrs.evolve(time, doubts=(*time.doubts, _disagreement(time, wrong)))
    if _began_the_day_before(time, exptime) and not any(c.dated and c.agrees for c in clocks):
        text = f"the exposure of {time.keyword} lasted over midnight, and its date may be that of the start: then the "
        text += "time is a day early"
        doubt = Doubt("clocks_disagree", text, _CURE, severity=Severity.SERIOUS, value=_DAY)
        return attrs.evolve(time, doubts=(*time.doubts, doubt))
    if not time.dated and (days := _days_before_writing(header, time, exptime)):
        text = f"the file was written {days:+d} d after the exposure's end by {time.keyword}: its date may be that of "
        text += "the evening, and not that in UT"
        doubt = Doubt("clocks_disagree", text, _CURE, severity=Severity.SERIOUS, value=_DAY * days)
        return attrs.evolve(time, doubts=(*time.doubts, doubt))
    return time


def _disagreement(time: HeaderTime, wrong: Sequence[Clock]) -> Doubt:
    worst = max(wrong, key=lambda c: (c.is_zones and (c.universal or c.dated), c.named or not c.within, abs(c.offset)))
    serious = worst.is_zones and (worst.universal or worst.dated)
    return Doubt(
        "clocks_disagree",
        f"{worst.keyword} is {worst.offset:+.6g} s from {time.keyword}, which is used"
        + _MOMENTS.get(worst.reference, "")
        + (": a zone's time, it seems, was taken for UTC, or the reverse" if worst.is_zones else ""),
        _CURE,
        severity=Severity.SERIOUS if serious else Severity.NOTE if worst.within and not worst.named else Severity.DOUBT,
        value=worst.offset,
    )


def _is_local(header: fits.Header, clock: Clock) -> bool:
    """Whether another card has the same text as local time."""
    text = text_of(header, clock.keyword)
    names = ("DATELOC", "LOCDATE", "DATELT", "LOCTIME", "TIMELOC", "LOCALTIME", "LOCALTIM", "LTOBS", "LOCALDATE")
    there = by_plain_name(header)
    return any(text_of(header, k) == text for name in names for k in there.get(name, ()))


def _began_the_day_before(time: HeaderTime, exptime: float) -> bool:
    """Whether a clock of the middle or the end, with a date that stands apart, puts the start before midnight."""
    return not time.dated and int(_start(time.mjd, time.reference, exptime)) < int(time.mjd)


def _days_before_writing(header: fits.Header, time: HeaderTime, exptime: float) -> int:
    """Return by how many whole days the file was written after the exposure, where it was at that time of day."""
    written = read_card(header, "DATE", TimeReference.START, "utc")
    if written is None or not written.dated:
        return 0
    since = written.mjd - _start(time.mjd, time.reference, exptime) - exptime / _DAY
    days = round(since)
    return days if abs(days) == 1 and -60.0 <= (since - days) * _DAY <= 900.0 else 0


def _turned(time: HeaderTime, clocks: Sequence[Clock], by: Clock, shift: float) -> HeaderTime:
    """Return a local time turned to UT by a clock that is in UT."""
    # By a time of day alone, 10 to 12 hours west are not told from 12 to 14 hours east; of a date that stands apart it
    # is not known whether it is the local one.
    day = any(c.universal and c.dated for c in clocks) or (time.dated and -_WEST < shift < _DAY - _EAST)
    sure = day and len(by.shifts) == 1
    text = f"{time.keyword} is local, {abs(shift) / 3600:g} h {'behind' if shift > 0 else 'ahead of'} {by.keyword}, "
    text += "which is in UT and was used" + ("" if day else "; of which day it is, is not certain")
    if len(by.shifts) > 1:
        others = ", ".join(f"{abs(s) / 3600:g}" for s in by.shifts[1:])
        text += f"; if that is not the exposure's start, it is off by {others} h"
    doubt = Doubt(
        "local_time", text, _CURE, severity=Severity.DOUBT if sure else Severity.SERIOUS, value=shift
    )  # fmt: skip
    return attrs.evolve(
        time, mjd=time.mjd + shift / _DAY, keyword=f"{time.keyword}+{by.keyword}", local=False,
        doubts=(*time.doubts, doubt),
    )  # fmt: skip


def other_clocks(header: fits.Header, time: HeaderTime, exptime: float) -> list[Clock]:
    """Return the clocks of a header beside the one used, by the names that are common for the exposure's time."""
    scale = _scale(header)
    start = _start(time.mjd, time.reference, exptime)
    used = set(time.keyword.split("+"))
    found: dict[str, Clock] = {}
    for keyword, reference in present(header, {**DATES, **CLOCKS, **DAYS, BARE_CLOCK: TimeReference.START}):
        if keyword in used or keyword in found or (keyword == BARE_CLOCK and not says_universal(header, keyword)):
            continue
        if says_elsewhere(header, keyword):
            continue
        read, hours = time_text(header, keyword)
        if read is not None and read.clock and not read.dates and not hours:
            if says_local(header, keyword):
                continue
            if not named_moment(keyword):
                reference = said_moment(header, keyword) or reference
            offset = _of_clock(clock_seconds(read.clock) - _DAY * (read.offset or 0.0), start, reference, exptime)
            universal = says_universal(header, keyword)
            coarse = 60.0 if read.clock.endswith(":00") and text_of(header, keyword).count(":") == 1 else 0.0
            found[keyword] = Clock(keyword, offset, _AGREEMENT + coarse, universal, False, reference, exptime)
            continue
        if (read is not None and not read.clock) or says_local(header, keyword):
            continue
        if read is None and not may_be_a_day(keyword):
            continue
        moment = read_card(header, keyword, reference, scale)
        if moment is None or not time_is_possible(moment.mjd):
            continue
        offset = (_start(moment.mjd, moment.reference, exptime) - start) * _DAY
        tolerance = _AGREEMENT + _resolution(text_of(header, keyword))
        universal = says_universal(header, keyword)
        found[keyword] = Clock(keyword, offset, tolerance, universal, True, moment.reference, exptime)
    return list(found.values())


def _scale(header: fits.Header) -> str:
    try:
        return time_scale(header)
    except UnusableInput:  # an option replaces it
        return "utc"


def _start(mjd: float, reference: TimeReference, exptime: float) -> float:
    back = {TimeReference.START: 0.0, TimeReference.MID: 0.5, TimeReference.END: 1.0}[reference]
    return mjd - back * exptime / _DAY


def _of_clock(seconds: float, start: float, reference: TimeReference, exptime: float) -> float:
    """Return by how much a time of day is after the start of an exposure, s: the nearest such."""
    at = _start(seconds / _DAY, reference, exptime)
    return ((at - start + 0.5) % 1.0 - 0.5) * _DAY


def _resolution(text: str) -> float:
    """Return to how many seconds a day in figures is given."""
    if as_number(text) is None:
        return 0.0
    decimals = len(text.partition(".")[2])
    return _DAY * 10.0 ** -min(decimals, 9)
