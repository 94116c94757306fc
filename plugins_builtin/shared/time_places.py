"""Where a header's times are taken: at the telescope, or by the light's arrival at the sun or at the barycentre."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lcframework.types import Doubt, Severity
from plugins_builtin.shared.header_values import comment_of, text_of

if TYPE_CHECKING:
    from astropy.io import fits

#: Keywords for the place of all times of a header: the standard's, and the one of older files of satellites.
_PLACES = ("TREFPOS", "TIMEREF")
_AWAY = re.compile(r"\b(?:helio|bary|solar\s*system|ssb\b)|\b[hb]jd\b", re.IGNORECASE)
_DENIED = re.compile(r"\b(?:not?|without|un\w+ed|before)\b", re.IGNORECASE)
#: Light takes so long from the sun to the earth, s.
_LIGHT_TIME = 499.0


def says_elsewhere(header: fits.Header, keyword: str) -> bool:
    """Whether a card's comment says that its time is that at the sun, or at the barycentre of the solar system."""
    comment = comment_of(header, keyword)
    return _AWAY.search(comment) is not None and _DENIED.search(comment) is None


def place_doubts(header: fits.Header) -> tuple[Doubt, ...]:
    """Return the doubt that the times of a header are not those at the telescope, by what it says of all of them."""
    for keyword in _PLACES:
        text = text_of(header, keyword)
        if text and _AWAY.match(text):
            return (_doubt(f"{keyword} = {text!r}"),)
    return ()


def card_doubts(header: fits.Header, keyword: str) -> tuple[Doubt, ...]:
    """Return the doubt that a card's time is not that at the telescope, by its comment."""
    if not says_elsewhere(header, keyword):
        return ()
    return (_doubt(f'the comment of {keyword}, "{comment_of(header, keyword)}"'),)


def _doubt(why: str) -> Doubt:
    return Doubt(
        "time_elsewhere",
        f"the header's times are those at the sun or at the barycentre, by {why}, and were taken for those at the "
        f"telescope: they may be off by {_LIGHT_TIME:.0f} s",
        "Name a keyword with the time at the telescope by time_keyword in [header.fits], or undo the correction in a "
        "header plugin",
        severity=Severity.SERIOUS,
        value=_LIGHT_TIME,
    )
