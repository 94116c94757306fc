"""Lines for the project file that tell the generic parser what it did not find in headers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.io import fits

from lcframework.config.toolbox import GENERIC_PARSER
from lcframework.frames.header_cards import as_number, exposure_unit, looks_like, text_of
from lcframework.header_doctor.reading import FileReading
from lcframework.types import MeasuredGain

#: Quantities, and the options of ``[header.fits]`` that name their keyword; those without one take a number.
_KEYWORDS = {"exptime": "exptime_keyword", "gain": "gain_keyword", "read_noise": "", "band": "band_keyword"}


def lines_to_paste(files: Sequence[FileReading], measured: MeasuredGain | None) -> tuple[str, ...]:
    """Return a table ``[header.fits]`` with what headers hold under names that the parser does not look at.

    Empty where nothing is missing, or where another parser reads the files.

    Parameters
    ----------
    files : sequence of FileReading
        Of one instrument.
    measured : MeasuredGain, optional
        The gain from the images' noise.
    """
    read = [f for f in files if f.header is not None and (not f.parser or f.parser == GENERIC_PARSER)]
    headers = [f.header for f in read if f.header is not None]
    if not headers:
        return ()
    lines = []
    for quantity, option in _KEYWORDS.items():
        if not any(_lacks(f, quantity) for f in read):
            continue
        likely = next(iter(looks_like(headers, quantity)), "")
        value = text_of(headers[0], likely) if likely else ""
        if quantity == "gain" and measured is not None and np.isfinite(measured.gain):
            stated = as_number(value) if likely else None
            if stated is None or measured.excludes(stated):
                beside = f"; {likely} says {value}" if likely else ""
                lines.append(f"gain = {measured.gain:.3g}  # e-/ADU, from the images' noise{beside}")
                continue
        if quantity == "exptime" and likely:
            lines.append(_exposure(headers[0], likely, value))
        elif likely and option:
            lines.append(f'{option} = "{likely}"  # {value}')
        elif likely:
            lines.append(f"{quantity} = {as_number(value):g}  # {likely}")
    return (f"[header.{GENERIC_PARSER}]", *lines) if lines else ()


def _exposure(header: fits.Header, key: str, value: str) -> str:
    """Return the line for the exposure time: the keyword where it holds seconds, else the number in seconds."""
    seconds, stated = exposure_unit(header, key)
    check = "" if stated else "; CHECK its unit, which the header does not state"
    if seconds == 1.0:
        return f'exptime_keyword = "{key}"  # {value}{check}'
    number = (as_number(value) or 0.0) * seconds
    return (
        f"exptime = {number:g}  # s; {key} = {value} is in no seconds{check}; frames that differ need a header plugin"
    )


def _lacks(f: FileReading, quantity: str) -> bool:
    """Whether a file's reading lacks a quantity."""
    info = f.known
    if info is None:
        return False
    if quantity in f.unread:
        return True
    value = getattr(info, quantity)
    return not value if isinstance(value, str) else not (np.isfinite(value) and value > 0)
