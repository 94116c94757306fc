"""Headers for the generic parser, and what it makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from astropy.io import fits

from lcframework.types import HeaderInfo
from plugins_builtin.headers.fits import FitsHeader


def parse(cards: dict[str, Any], options: dict[str, Any] | None = None) -> HeaderInfo:
    """Parse a header of 60 s and 1.5 e-/ADU; a card is a value, or a value and its comment, and None takes it out."""
    header = fits.Header()
    for keyword, value in {"EXPTIME": 60.0, "GAIN": 1.5, **cards}.items():
        if value is not None:
            header[keyword] = value
    return FitsHeader(**(options or {})).parse(header, Path("frame.fits"))


def kinds(info: HeaderInfo) -> list[tuple[str, str]]:
    """Return the kinds of a header's doubts, and how bad each is."""
    return [(d.kind, d.severity.value) for d in info.doubts]
