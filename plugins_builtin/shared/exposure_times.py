"""The exposure time of a header in seconds: its unit, and what else the header says of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

from lcframework.types import Doubt, Severity, UnusableInput
from plugins_builtin.shared.header_times import read_card
from plugins_builtin.shared.header_values import as_number, comment_of, says_nothing, text_of, value_of
from plugins_builtin.shared.time_texts import read_time_text
from plugins_builtin.shared.time_zones import zone_of

if TYPE_CHECKING:
    from astropy.io import fits


EXPTIME = ("EXPTIME", "EXPOSURE", "EXP_TIME", "EXP-TIME", "XPOSURE", "ITIME", "INTTIME", "TEXPTIME")
#: Those that mean the whole exposure of the frame, whoever writes them.
_SAME = ("EXPTIME", "EXPOSURE", "EXP_TIME", "EXP-TIME", "XPOSURE")
_ELAPSED = ("TELAPSE", "ELAPTIME", "ELAPSED")
#: Cards of the start and of a later moment, and what part of the exposure lies between them, as its inverse.
_PAIRS = tuple(
    (start, later, parts)
    for later, parts in (("DATE-END", 1.0), ("DATE-AVG", 2.0), ("MJD-END", 1.0), ("MJD-AVG", 2.0), ("MJD-MID", 2.0))
    for start in ("DATE-BEG", "DATE-OBS", "MJD-BEG")
)
#: Longer than any exposure of a frame, s: its unit is another.
LONGEST = 86_400.0
#: Longer than reading out any detector, s.
_LONGEST_READOUT = 180.0
_UNITS = {
    1.0: ("s", "sec", "secs", "second", "seconds", "secondes"),
    1e-3: ("ms", "msec", "msecs", "millisec", "millisecs", "millisecond", "milliseconds"),
    1e-6: ("us", "usec", "usecs", "microsec", "microsecs", "microsecond", "microseconds"),
    1e-9: ("ns", "nsec", "nanosec", "nanosecond", "nanoseconds"),
    0.01: ("cs", "centisec", "centisecond", "centiseconds"),
    60.0: ("min", "mins", "minute", "minutes"),
    3600.0: ("h", "hr", "hrs", "hour", "hours"),
    86_400.0: ("d", "day", "days"),
}
_SECONDS = {name: factor for factor, names in _UNITS.items() for name in names}
# Letters that are words of their own count as a unit in brackets, after a comma, or after "in" alone.
_SHORT = {"s", "us", "ns", "cs", "h", "d", "min", "mins", "hr", "day", "second", "minute", "hour", "sec"}
_NUMBER = r"(?:(?P<number>\d+(?:\.\d*)?|\.\d+)\s*)?"
_NAME = r"(?P<unit>[a-zµμ]+)\.?"
_PLACES = (
    re.compile(rf"[\[(]\s*(?:in\s+)?{_NUMBER}{_NAME}\s*[\])]", re.IGNORECASE),
    re.compile(
        rf"\b(?:in\s+units?|in|units?)\b\s*[:=]?\s*(?:of\s+)?(?:integer\s+)?{_NUMBER}{_NAME}(?![a-z])", re.IGNORECASE
    ),
    re.compile(rf"[,;:]\s*{_NUMBER}{_NAME}\s*$", re.IGNORECASE),
    re.compile(rf"^\s*{_NUMBER}{_NAME}\s*$", re.IGNORECASE),
)


@attrs.frozen
class ExposureTime:
    """An exposure time, and what is doubtful about it.

    Attributes
    ----------
    seconds : float
    keyword : str
    doubts : tuple of Doubt
    """

    seconds: float
    keyword: str
    doubts: tuple[Doubt, ...] = ()


def exposure_time(header: fits.Header, keywords: Sequence[str], ways: str) -> ExposureTime:
    """Return the first of the keywords that is present, in seconds.

    Its unit is what stands beside its value, else what its comment says, else seconds or what TIMEUNIT says.

    Raises
    ------
    UnusableInput
        Where none is there, or the first is no positive number or longer than a day; `ways` says what to do.
    """
    for keyword in keywords:
        value = value_of(header, keyword)
        if says_nothing(value):
            continue
        found = _in_seconds(header, keyword)
        if found is None or found.seconds <= 0:
            raise UnusableInput(f"the header's exposure time makes no sense: {keyword} = {value!r}; {ways}")
        if found.seconds > LONGEST:
            raise UnusableInput(
                f"the header's exposure time makes no sense: {keyword} = {value!r} would be {found.seconds:g} s "
                f"(TIMEUNIT = {text_of(header, 'TIMEUNIT')!r}, comment {comment_of(header, keyword)!r}); {ways}"
            )
        return found
    raise UnusableInput(f"no exposure time in the header: looked for {', '.join(keywords)}; {ways}")


def _in_seconds(header: fits.Header, keyword: str) -> ExposureTime | None:
    text = text_of(header, keyword)
    match = re.fullmatch(r"(?P<number>[-+\d.,]+(?:[EeDd][+-]?\d+)?)\s*(?P<unit>[a-zµμ]+)?\.?", text, re.IGNORECASE)
    if isinstance(value_of(header, keyword), bool) or match is None or (number := as_number(match["number"])) is None:
        return None
    beside = _factor(match["unit"]) if match["unit"] else None
    if match["unit"] and beside is None:
        return None
    comment = comment_of(header, keyword)
    said, doubtful = unit_in_words(comment), _doubtful_step(comment, number)
    if said is not None and not doubtful and (plain := _UNIT_AFTER_NUMBER.search(comment)) is not None:
        said = (_factor(plain["unit"]) or said) if _restates(plain, number) else said
    own = beside if beside is not None else said
    factor, unsure = _by_timeunit(header, keyword, number, own)
    doubts: tuple[Doubt, ...] = ()
    if unsure or doubtful or (beside is not None and said not in (None, beside)):
        doubts = (
            Doubt("exposure_time_unit",
                  f"{keyword} = {text!r} was taken for {number * factor:g} s, but its unit is not certain "
                  f"(comment {comment!r}, TIMEUNIT = {text_of(header, 'TIMEUNIT')!r})", _CURE),
        )  # fmt: skip
    return ExposureTime(number * factor, keyword, doubts)


def _by_timeunit(header: fits.Header, keyword: str, number: float, own: float | None) -> tuple[float, bool]:
    """Return the unit of an exposure time in seconds by TIMEUNIT and what else is said, and whether it is doubtful.

    TIMEUNIT is the unit of times such as TSTART, and of XPOSURE and TELAPSE (FITS standard 4.0, table 35); EXPTIME and
    its like are in seconds by custom, but minutes and milliseconds are told by it too.
    """
    timeunit = text_of(header, "TIMEUNIT")
    general = _factor(timeunit) if timeunit else None
    if not timeunit or timeunit.lower() in _LONG_UNITS:
        return own or 1.0, False
    if keyword in _OF_TIMEUNIT:
        return own or general or 1.0, general is None or own not in (None, general)
    if own is not None:
        return own, general != own and general != 86_400.0
    if general in (1.0, 86_400.0):
        return 1.0, False
    if general not in (60.0, 1e-3) or number * general > LONGEST:
        return 1.0, True
    given = spans(header, number * general)
    against = any(_of_elapsed(s, number * general) is Severity.DOUBT for s in given)
    return (1.0 if against and all(_of_elapsed(s, number) is not Severity.DOUBT for s in given) else general), True


#: Keywords whose unit TIMEUNIT is by the standard.
_OF_TIMEUNIT = ("XPOSURE", "TELAPSE")
#: Units of the standard in which no exposure is.
_LONG_UNITS = ("a", "yr", "cy", "ta", "ba")
_UNIT_AFTER_NUMBER = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)[\s*-]*(?P<unit>[a-zµμ]+)\b", re.IGNORECASE)


def _restates(match: re.Match[str], number: float) -> bool:
    return abs(float(match["number"]) - number) <= 1e-3 * number


def _doubtful_step(comment: str, number: float) -> bool:
    """Whether a comment has a number before a unit that is neither the value again nor plainly the value's step."""
    if re.search(r"\bunits?\s+of\s+\d", comment, re.IGNORECASE):
        return False
    found = [m for m in _UNIT_AFTER_NUMBER.finditer(comment) if _factor(m["unit"]) is not None]
    return any(not _restates(m, number) for m in found)


_CURE = "Set exptime (seconds) or exptime_keyword in [header.fits], or use a header plugin"


def _factor(name: str) -> float | None:
    return _SECONDS.get(re.sub("[µμ]", "u", name.strip().lower().rstrip(".")))


def unit_in_words(comment: str) -> float | None:
    """Return how many seconds the unit has that a comment speaks of; None where it speaks of none, or of several.

    A number before the unit counts: in "units of 10 ms" a unit has 0.01 s.
    """
    for place in _PLACES:
        found = {
            f * float(m["number"] or 1.0) for m in place.finditer(comment) if (f := _factor(m["unit"])) is not None
        }
        if found:
            return found.pop() if len(found) == 1 else None
    words = {w for w in re.findall(r"[a-zµμ]+", comment.lower()) if w not in _SHORT}
    factors = {f for w in words if (f := _factor(w)) is not None}
    return factors.pop() if len(factors) == 1 else None


def exposure_doubts(header: fits.Header, used: ExposureTime, scale: str) -> tuple[Doubt, ...]:
    """Return what the header's other cards say against an exposure time."""
    against: list[tuple[str, float, Severity]] = []
    for keyword in _SAME:
        other = _in_seconds(header, keyword) if keyword != used.keyword else None
        if other is not None and other.seconds > 0 and not _same(other.seconds, used.seconds):
            against.append((f"{keyword} says {other.seconds:g} s", other.seconds, Severity.DOUBT))
    for name, elapsed in _elapsed(header, scale, used.seconds):
        severity = _of_elapsed(elapsed, used.seconds)
        if severity is not None:
            against.append((f"{name} says {elapsed:.6g} s from start to end", elapsed, severity))
    if not against:
        return used.doubts
    worst = max(against, key=lambda a: (a[2] is Severity.DOUBT, abs(a[1] / used.seconds - 1.0)))
    text = f"{used.keyword} was taken for {used.seconds:g} s, but {'; '.join(a[0] for a in against)}"
    doubt = Doubt(
        "exposure_times_disagree", text, _CURE, value=worst[1],
        severity=Severity.NOTE if worst[2] is Severity.NOTE else Severity.DOUBT,
    )  # fmt: skip
    return (*used.doubts, doubt)


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= max(0.02 * max(a, b), 0.002)


def _of_elapsed(elapsed: float, exptime: float) -> Severity | None:
    """Judge the time from start to end: times in whole seconds, and the shutter's and the read-out's, are no doubt.

    What is longer than any read-out parts exposures that were summed: their middle is not half of the exposure time
    after the start.
    """
    if elapsed < 0.98 * exptime - 1.1 or elapsed > 1.5 * exptime + 15.0 or elapsed > exptime + _LONGEST_READOUT:
        return Severity.DOUBT
    return Severity.NOTE if elapsed > 1.1 * exptime + 15.0 else None


def spans(header: fits.Header, exptime: float, scale: str = "utc") -> list[float]:
    """Return the times from start to end that a header gives, s.

    Parameters
    ----------
    header : Header
    exptime : float
        The exposure time, s: what differs from it by a zone's offset tells two clocks, and no span.
    scale : str
        The name of the time scale.
    """
    return [seconds for _, seconds in _elapsed(header, scale, exptime)]


def _elapsed(header: fits.Header, scale: str, exptime: float) -> Iterator[tuple[str, float]]:
    for keyword in _ELAPSED:
        other = _in_seconds(header, keyword)
        if other is not None and other.seconds > 0:
            yield keyword, other.seconds
    for begin, end, parts in _PAIRS:
        start, stop = (_full(header, keyword, scale) for keyword in (begin, end))
        if start is None or stop is None:
            continue
        elapsed = parts * (stop - start) * 86_400.0
        # By what a zone is off, more or less, the two clocks are in different zones: that is another doubt.
        zone = any(zone_of(sign * (elapsed - exptime), 10.0) for sign in (1, -1))
        if elapsed > 0.0 and not zone:
            yield f"{end} after {begin}", elapsed
            return


def _full(header: fits.Header, keyword: str, scale: str) -> float | None:
    from lcframework.types import TimeReference

    text = text_of(header, keyword)
    read = read_time_text(text)
    if not text or (read is not None and not (read.dates and read.clock)):
        return None
    found = read_card(header, keyword, TimeReference.START, scale)
    plain = found is not None and (keyword != "DATE-OBS" or found.reference is TimeReference.START)
    return found.mjd if found is not None and plain else None
