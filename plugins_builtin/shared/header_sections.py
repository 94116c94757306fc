"""The overscan and the exposed region of a raw image, by the sections that its header names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lcframework.types import is_section, section_slices
from plugins_builtin.shared.header_values import text_of

if TYPE_CHECKING:
    from astropy.io import fits

#: Names of sections without light on them, such as BIASSEC, BIAS01, BSEC11, OVERSCAN, ESO DET OUT1 OVSC.
_OVERSCAN = re.compile(r"BIAS|^BSEC|OVER?_?SC|OSCAN|^OSEC")


def header_overscan(header: fits.Header, shape: tuple[int, int]) -> str:
    """Return the section of the overscan, as the header writes it; '' where it names none that can be right.

    It must lie within the image, touch its edge and not be most of it: a header that was kept when its image was
    trimmed names pixels that are gone, or that stars shine on. Several sections, of several amplifiers, are none that
    serves the whole image.

    Parameters
    ----------
    header : Header
        Of the raw frame.
    shape : tuple of int
        (ny, nx) of the image in the file.
    """
    found = {}
    for keyword in dict.fromkeys(header):
        text = text_of(header, keyword) if _OVERSCAN.search(keyword.upper()) else ""
        if is_section(text):
            found[re.sub(r"\s", "", text)] = section_slices(text, shape)
    if len(found) != 1:
        return ""
    text, slices = next(iter(found.items()))
    if slices is None:
        return ""
    narrow = [(s.start == 0 or s.stop == n) and 2 * (s.stop - s.start) < n for s, n in zip(slices, shape, strict=True)]
    return text if any(narrow) else ""
