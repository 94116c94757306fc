"""The cards of a header that may hold the exposure's time: their names, and what their comments say of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from lcframework.types import TimeReference
from plugins_builtin.shared.header_values import as_number, by_plain_name, comment_of, plain_name, text_of, value_of
from plugins_builtin.shared.time_texts import TimeText, clock_of_hours, clock_seconds, read_time_text

if TYPE_CHECKING:
    from astropy.io import fits

START, MID, END = TimeReference.START, TimeReference.MID, TimeReference.END
#: Dates and the moment that each is, best first: those with a definite moment and time scale. Separators within names
#: do not matter.
DATES = {
    "DATE-AVG": MID, "DATE-BEG": START, "UT-OBS": START, "DATE-OBS": START, "DATE_OBS": START, "UTSTART": START,
    "OBSTART": START, "UTC-OBS": START, "DATE-UT": START, "DATE-UTC": START, "DATE-MID": MID, "MIDPOINT": MID,
    "DATE-STA": START, "DATE-START": START, "UT-DATE": START, "DATE-END": END,
}  # fmt: skip
#: Days, used where no date has a time: they are often rounded.
DAYS = {
    "MJD-AVG": MID, "MJD-MID": MID, "MJD-BEG": START, "MJD-STR": START, "MJD-STRT": START, "MJD-OBS": START,
    "MJD": START, "MJD-END": END, "JD-AVG": MID, "JD-MID": MID, "JD-BEG": START, "JD-STR": START, "JD-STRT": START,
    "JD-OBS": START, "JD": START, "JD-END": END,
}  # fmt: skip
#: Days that programs give for the start or for the middle: used where the comment says which.
DAYS_OF_SOME_MOMENT = ("JD-UTC", "MJD-UTC", "UT-JD")
#: Times of day that complete a date without one.
CLOCKS = {
    "UT-OBS": START, "TIME-OBS": START, "TIME-BEG": START, "UTC-OBS": START, "UTSTART": START, "UT-STR": START,
    "UT-STRT": START, "UTC-STR": START, "UTC-STRT": START, "EXP-STR": START, "EXP-STRT": START, "UT": START,
    "UTC": START, "EXPSTART": START, "UTC-START": START, "UT-BEG": START, "UTC-BEG": START, "UTSHUT": START,
    "TIME-START": START, "TIME-STR": START, "TIME-STRT": START, "TIME-UT": START, "TIME-UTC": START,
    "UT-TIME": START, "UTIME": START, "UTC-TIME": START, "GMT": START,
    "MIDPOINT": MID, "UT-MID": MID, "UTC-MID": MID, "UTMIDDLE": MID, "MIDTIME": MID,
    "TIME-MID": MID, "TIME-AVG": MID, "UT-END": END, "UTC-END": END, "TIME-END": END, "UT-STOP": END,
    "UTC-STOP": END, "TIME-STOP": END,
}  # fmt: skip
#: One that is read beside others where its comment says that it is in UT.
BARE_CLOCK = "TIME"
#: Clocks' names that are no dates' or days', however these are written.
_CLOCKS_ALONE = {plain_name(k) for k in (*CLOCKS, BARE_CLOCK)}
_CLOCK_IN_COMMENT = re.compile(r"(?<![\d:])(\d{1,2}:\d{2}:\d{2}(?:\.\d*)?)(?![\d:])")
_IN_HOURS = {plain_name(k) for k in CLOCKS if k.startswith(("UT", "GMT", "TIME-OBS"))}

_MOMENT = re.compile(
    r"(?P<start>\b(?:start\w*|beg[ia]n\w*|shutter\s+open\w*)\b)|(?P<mid>\b(?:mid|middle|midpoint|mid-?\w*exposure|"
    r"centre|center)\b)|(?P<end>\b(?:end|ends|ended|finish\w*|stop\w*|shutter\s+clos\w*)\b)",
    re.IGNORECASE,
)
RECEIVED = re.compile(r"\b(?:received|grabbed|downloaded|read-?\s?out)\b", re.IGNORECASE)
_LOCAL = re.compile(r"\b(?:local|civil|lmt)\b", re.IGNORECASE)
_ZONED = re.compile(r"\b(?:UTC?|GMT)\s*[+-]\s*\d|\b(?:[ECMP][SD]T|CES?T|EES?T|JST|AE[SD]T|NZ[SD]T|SAST|CLS?T)\b")
_UNIVERSAL = re.compile(r"\b(?:utc?|ut1|universal|gmt|greenwich|zulu)\b", re.IGNORECASE)


def present(header: fits.Header, names: Mapping[str, TimeReference]) -> Iterator[tuple[str, TimeReference]]:
    """Yield the keywords of a header that have one of some names, and the names' moments, in the order of names."""
    there = by_plain_name(header)
    given: set[str] = set()
    for name, moment in names.items():
        spelled = there.get(plain_name(name), [])
        for keyword in sorted(spelled, key=lambda k: k != name):
            if keyword not in given and text_of(header, keyword):
                given.add(keyword)
                yield keyword, moment


def named_moment(keyword: str) -> TimeReference | None:
    """Return the moment of the exposure that a keyword's name means plainly, or None."""
    plain = plain_name(keyword)
    parts = ((START, "BEG|STA|STRT?$|SHUT"), (MID, "AVG|MID"), (END, "END|STOP"))
    found = [moment for moment, named in parts if re.search(named, plain)]
    return found[0] if len(found) == 1 else None


def said_moment(header: fits.Header, keyword: str) -> TimeReference | None:
    """Return the moment that a card's comment names; None where it names none, or several."""
    comment = comment_of(header, keyword)
    found = {str(m.lastgroup) for m in _MOMENT.finditer(comment)}
    if not found and RECEIVED.search(comment):
        return END
    return TimeReference(found.pop()) if len(found) == 1 else None


def says_local(header: fits.Header, keyword: str) -> bool:
    """Whether a card's comment says that its time is a zone's."""
    comment = comment_of(header, keyword)
    return bool(_ZONED.search(comment)) or (bool(_LOCAL.search(comment)) and not _UNIVERSAL.search(comment))


def says_universal(header: fits.Header, keyword: str) -> bool:
    """Whether a card's name, text or comment says that its time is UT."""
    comment = comment_of(header, keyword)
    if _UNIVERSAL.search(comment) and not _LOCAL.search(comment) and not _ZONED.search(comment):
        return True
    read = read_time_text(text_of(header, keyword))
    if read is not None and read.offset is not None:
        return True
    named = re.search(r"^(?:UT|GMT)|(?:UTC?|GMT)$", plain_name(keyword)) is not None
    return named and not says_local(header, keyword)


def may_be_a_day(keyword: str) -> bool:
    """Whether a card's number may be a Julian date, modified or not; that of a clock is one if its name says so."""
    plain = plain_name(keyword)
    return "JD" in plain or plain not in _CLOCKS_ALONE


def time_text(header: fits.Header, keyword: str) -> tuple[TimeText | None, bool]:
    """Return what a card says of a moment, and whether a number without unit was taken for hours."""
    text = text_of(header, keyword)
    number = as_number(text)
    if isinstance(value_of(header, keyword), str) and re.fullmatch(r"\d{6}(?:\.\d*)?", text):
        return read_time_text(f"{text[:2]}:{text[2:4]}:{text[4:]}"), False
    if number is None:
        return read_time_text(text), False
    if (of_comment := _of_comment(header, keyword, number)) is not None:
        return of_comment, False
    comment = comment_of(header, keyword).lower()
    if plain_name(keyword) not in _IN_HOURS or not 0 <= number < 86_400.0:
        return read_time_text(text), False
    if re.search(r"[\[(]\s*s(?:ec\w*)?\s*[\])]|\bseconds\b", comment):
        return TimeText((), clock_of_hours(number / 3600.0), None), False
    hours = bool(re.search(r"[\[(]\s*h(?:(?:ou)?rs?)?\s*[\])]|\bhours?\b", comment))
    if number < 24.0 and (hours or number != int(number)):
        return TimeText((), clock_of_hours(number), None), not hours
    return None, False


def _of_comment(header: fits.Header, keyword: str, number: float) -> TimeText | None:
    """Return the time of day that a card's number and its comment give alike, in seconds or in hours."""
    match = _CLOCK_IN_COMMENT.search(comment_of(header, keyword))
    read = read_time_text(match[1]) if match and not may_be_a_day(keyword) else None
    if read is None or not read.clock or not 0 <= number < 86_400.0:
        return None
    said = clock_seconds(read.clock)
    seconds = next((s for s in (number, 3600.0 * number) if abs(s - said) < 1.0), None)
    return None if seconds is None else TimeText((), clock_of_hours(seconds / 3600.0), None)
