"""Values of FITS headers, as they are written: missing, undefined, damaged, numbers as texts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astropy.io import fits


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


def first_text(header: fits.Header, keywords: Iterable[str]) -> str:
    """Return the first text of several keywords that is not empty; empty where all are."""
    return next((text for text in (text_of(header, keyword) for keyword in keywords) if text), "")


def as_number(value: Any) -> float | None:
    """Return a header's value as a finite number; None where it isn't one."""
    if isinstance(value, bool):
        return None
    try:
        number = float(str(value).strip())
    except ValueError:
        return None
    return number if math.isfinite(number) else None
