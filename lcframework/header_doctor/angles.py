"""Angles in headers: numbers, sexagesimal texts, with letters for their directions."""

from __future__ import annotations

import re

import attrs

_SEXAGESIMAL = re.compile(
    r"^([NSEW+-]?)\s*(\d{1,3})\s*(?:[:hd°\s]+)\s*(\d{1,2}(?:\.\d+)?)\s*(?:[:m'\s]+\s*(\d{1,2}(?:\.\d*)?)(\s*[s\"])?)?\s*([NSEW]?)$",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"^([NSEW+-]?)\s*(\d{1,3}(?:\.\d*)?|\.\d+)(?:\s*(?:deg\w*|°))?\s*([NSEW]?)$", re.IGNORECASE)
#: Letters, and the sign of their direction: north and east are positive.
_SIGNS = {"N": 1, "E": 1, "S": -1, "W": -1, "+": 1, "-": -1}


@attrs.frozen
class Angle:
    """An angle as it is written.

    Attributes
    ----------
    value : float
        In the unit of its first part.
    sexagesimal : bool
    signed : bool
        Whether a sign or a letter gives its direction.
    """

    value: float
    sexagesimal: bool
    signed: bool


def read_angle(text: str) -> Angle | None:
    """Return an angle; None where a text is none."""
    text = text.strip()
    if match := _SEXAGESIMAL.match(text):
        before, first, minutes, seconds, unit, after = match.groups()
        after = after or _south(unit or "", text)
        value = float(first) + float(minutes) / 60.0 + float(seconds or 0.0) / 3600.0
    elif match := _NUMBER.match(text):
        before, first, after = match.groups()
        value = float(first)
    else:
        return None
    direction = (after or before).upper()
    sign = _SIGNS.get(direction, 1) * (_SIGNS.get(before, 1) if after and before in ("+", "-") else 1)
    return Angle(sign * value, match.re is _SEXAGESIMAL, bool(direction))


def _south(unit: str, text: str) -> str:
    """Return S where the letter after the seconds means the south: in 24:37:38 S, 24°37'38S; not in 24D37M38S."""
    if not unit.endswith("S"):
        return ""
    of_seconds = re.search(r"[HD].*M", text) is not None and unit == "S"  # the other parts have such letters too
    return "" if of_seconds else "S"


def right_ascension(text: str, comment: str = "") -> float | None:
    """Return a right ascension, degrees: sexagesimal ones are in hours, numbers in degrees unless called hours."""
    angle = read_angle(text)
    if angle is None:
        return None
    hours = angle.sexagesimal or re.search(r"\bhours?\b|\[h\]|\(h\)", comment.lower()) is not None
    degrees = angle.value * (15.0 if hours else 1.0)
    return degrees if 0.0 <= degrees < 360.0 else None


def declination(text: str) -> float | None:
    """Return a declination, degrees."""
    angle = read_angle(text)
    return angle.value if angle is not None and abs(angle.value) <= 90.0 else None
