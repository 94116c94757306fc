"""Frames that were made of several exposures: what the gain and the time of one of them are then worth."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from lcframework.types import Doubt, Severity, TimeReference
from plugins_builtin.shared.exposure_times import ExposureTime, spans
from plugins_builtin.shared.header_times import HeaderTime
from plugins_builtin.shared.header_values import as_number, by_plain_name, text_of

if TYPE_CHECKING:
    from astropy.io import fits

#: How many exposures a program combined: IRAF and ccdproc, Siril, MaxIm DL ...
_STACKED = re.compile(r"NCOMBINE|STACKCNT|SNAPSHOT")
#: ... and how many a camera added, or averaged, before it wrote the frame; names without separators.
_COADDED = re.compile(r"(?:N|NUM)?COADDS?(?:ONE)?|COAVERAG|(?:ESODET)?NDIT")
#: The exposure time of one of these.
_OF_ONE = re.compile(r"(?:ESODET(?:SEQ1)?)?DIT|EXP1TIME|EXPCOADD|ITIME|TRUITIME")
#: A time that is wrong by less, s, is not worth a doubt.
_NO_MATTER = 0.5


def combined_of(header: fits.Header) -> tuple[str, float] | None:
    """Return the keyword that says of how many exposures a frame consists, and how many; None for one exposure."""
    there = by_plain_name(header)
    for names in (_STACKED, _COADDED):
        for plain, keywords in there.items():
            number = as_number(text_of(header, keywords[0])) if names.fullmatch(plain) else None
            if number is not None and number > 1:
                return keywords[0], number
    return None


def combined_gain_doubts(header: fits.Header, gain: float) -> tuple[Doubt, ...]:
    """Return the doubt about a gain, e-/ADU, of a frame that was combined of several exposures.

    The noise of a mean of n exposures is that of a detector with n times the gain; of a median, 2 n / pi times as much
    where n is large; of a sum the gain is that of one exposure.
    """
    found = combined_of(header)
    if found is None:
        return ()
    keyword, number = found
    return (
        Doubt(
            "combined_exposures",
            f"the frame was combined of {number:g} exposures ({keyword}), and its gain of {gain:g} e-/ADU is "
            f"probably that of one: right for a sum, but errors of a mean would be {number**0.5:.2g} times too "
            "large",
            f"Set gain in [header.fits]: {gain * number:.4g} for a mean, {gain * number * 2 / np.pi:.4g} for a "
            f"median, {gain:g} for a sum",
            severity=Severity.DOUBT,
            value=number,
        ),
    )


def combined_time_doubts(header: fits.Header, exposure: ExposureTime, time: HeaderTime) -> tuple[Doubt, ...]:
    """Return the doubt about the middle of several exposures, where the exposure time may be that of one.

    There is none where the time is that of the middle, and where the exposure time is that of all: it is as many times
    that of one, or fills the time from start to end.
    """
    found = combined_of(header)
    if found is None or time.reference is TimeReference.MID:
        return ()
    keyword, number = found
    late = 0.5 * (number - 1.0) * exposure.seconds
    if late < _NO_MATTER or _is_of_all(header, exposure, number):
        return ()
    direction = "later" if time.reference is TimeReference.START else "earlier"
    return (
        Doubt(
            "combined_times",
            f"the frame was combined of {number:g} exposures ({keyword}), and {exposure.keyword} = "
            f"{exposure.seconds:g} s may be that of one: the middle of all is then at least {late:.4g} s {direction} "
            "than the time of the frame",
            f"Set exptime = {number * exposure.seconds:g} in [header.fits] if the frame is their sum, else name a "
            "keyword with the time of their middle by time_keyword there, with time_reference, or use a header plugin",
            value=late,
        ),
    )


def _is_of_all(header: fits.Header, exposure: ExposureTime, number: float) -> bool:
    """Whether an exposure time is that of all exposures together."""
    for plain, keywords in by_plain_name(header).items():
        one = as_number(text_of(header, keywords[0])) if _OF_ONE.fullmatch(plain) else None
        if one is not None and one > 0 and abs(exposure.seconds - number * one) <= 0.02 * exposure.seconds:
            return True
    # Of two exposures or more, one takes half of the time at most.
    return any(exposure.seconds > 0.6 * elapsed for elapsed in spans(header, exposure.seconds))
