"""Values of header cards, for all parsers of this package.

What a frame can't do without raises UnusableInput with the card as it is written: the frame is set aside with that
reason, and the rest of the run goes on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs

from lcframework.options import positive_or_zero
from lcframework.types import UnusableInput

if TYPE_CHECKING:
    from astropy.io import fits


def from_header_or_option() -> Any:
    """Return the field of an option that replaces a number of the header; 0: it is read off the header."""
    return attrs.field(default=0.0, validator=positive_or_zero("to read it off the header"))


def text(header: fits.Header, keyword: str) -> str:
    """Return a card's value as a text without blanks around it; empty where it has none."""
    from astropy.io import fits

    value = header.get(keyword)
    return "" if value is None or isinstance(value, fits.card.Undefined) else str(value).strip()


def number(header: fits.Header, keyword: str) -> float:
    """Return a card's value where it is a positive number; nan where it is anything else."""
    try:
        value = float(text(header, keyword))
    except ValueError:
        return math.nan
    return value if value > 0 and math.isfinite(value) else math.nan


def exposure_time(header: fits.Header, keyword: str = "EXPTIME") -> float:
    """Return an exposure time in seconds, which must be positive."""
    seconds = number(header, keyword)
    if math.isnan(seconds):
        raise UnusableInput(
            f"{keyword} = {text(header, keyword) or 'missing'}: a frame needs a positive exposure time (s)"
        )
    return seconds


def mjd_utc(header: fits.Header, keyword: str, clock: str = "") -> float:
    """Return the MJD (UTC) of a card that holds a date and a time; of two cards where `clock` holds the time."""
    from astropy.time import Time

    written = text(header, keyword)
    if clock:
        written = f"{written[:10]}T{text(header, clock)}"
    if len(written) < len("2019-03-26T02:27"):
        names = f"{keyword} and {clock}" if clock else keyword
        raise UnusableInput(f"{names} = '{written}': no date and time such as 2019-03-26T02:27:31.13")
    try:
        return float(Time(written.replace(" ", "T").removesuffix("Z"), format="isot", scale="utc").mjd)
    except ValueError:
        raise UnusableInput(f"{keyword} = '{written}': no date and time such as 2019-03-26T02:27:31.13") from None
