"""Values of FITS headers, as they are written: missing, undefined, damaged, numbers as texts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astropy.io import fits

# Three digits after a comma may be thousands, unless what stands before it can't be a group of them.
_DECIMAL_COMMA = re.compile(
    r"[+-]?(?:\d+,(?!\d{3}(?!\d))\d+|\d{4,},\d{3}|0\d*,\d{3}|,\d+|\d+,)(?:[EeDd][+-]?\d+)?|[+-]?\d+,\d{3}[EeDd][+-]?\d+"
)


def value_of(header: fits.Header, keyword: str) -> Any:
    """Return a keyword's value; None where it is missing, undefined, or its card can't be read."""
    from astropy.io import fits

    try:
        value = header.get(keyword)
    except (fits.VerifyError, ValueError):
        return None
    return None if isinstance(value, fits.card.Undefined) else value


def text_of(header: fits.Header, keyword: str) -> str:
    """Return a keyword's value as a text, stripped; empty where it has none."""
    value = value_of(header, keyword)
    return "" if value is None else str(value).strip()


def comment_of(header: fits.Header, keyword: str) -> str:
    """Return what a keyword's card says after its value; empty where it is missing or can't be read."""
    from astropy.io import fits

    try:
        return str(header.comments[keyword]).strip() if keyword in header else ""
    except (fits.VerifyError, ValueError, KeyError):
        return ""


def first_text(header: fits.Header, keywords: Iterable[str]) -> str:
    """Return the first text of several keywords that is not empty; empty where all are."""
    return next((text for text in (text_of(header, keyword) for keyword in keywords) if text), "")


#: What programs write where they do not know a value.
_NOTHING = re.compile(r"|unknown|undefined|undef|indef|n/?a|nan|none|null|[-?]+", re.IGNORECASE)


def says_nothing(value: Any) -> bool:
    """Whether a value is none: missing, empty, or a word for that."""
    return value is None or (isinstance(value, str) and _NOTHING.fullmatch(value.strip()) is not None)


def as_number(value: Any) -> float | None:
    """Return a header's value as a finite number; None where it isn't one.

    A comma is taken for a decimal one where it can't part thousands: ``60,0`` is a number, ``1,500`` is none.
    """
    if isinstance(value, bool):
        return None
    text = str(value).strip()
    if _DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    try:
        number = float(re.sub(r"(?<=[\d.])[Dd](?=[+-]?\d+$)", "E", text))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def plain_name(keyword: str) -> str:
    """Return a keyword without what separates its words: DATE-OBS, DATE_OBS and DATEOBS are one name."""
    return re.sub(r"[-_ ]", "", keyword.upper())


def by_plain_name(header: fits.Header) -> dict[str, list[str]]:
    """Return the keywords of a header, in its order, by their names without separators."""
    found: dict[str, list[str]] = {}
    for keyword in dict.fromkeys(header):
        if keyword not in ("COMMENT", "HISTORY", ""):
            found.setdefault(plain_name(keyword), []).append(keyword)
    return found
