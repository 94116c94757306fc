"""The WCS of a stamp, derived from that of its frame."""

from __future__ import annotations

import re
from typing import Any

from lcframework.types import Floats


def header_text(wcs: Any) -> str:
    """Return a WCS as header text that always has CRPIX cards."""
    header = wcs.to_header(relax=True)
    for axis in (0, 1):  # astropy leaves out a CRPIX of 0
        header[f"CRPIX{axis + 1}"] = float(wcs.wcs.crpix[axis])
    return str(header.tostring(sep="\n", padding=False))


def moved(text: str, reference: Floats, corner: tuple[int, int]) -> str:
    """Return a frame's WCS header text, changed for a stamp whose first pixel is at `corner`.

    `reference` is the frame's CRPIX. Only these two cards differ between stamps; they are replaced in the text, because
    a header object for each stamp would be slow.
    """
    for axis in (0, 1):
        keyword = f"CRPIX{axis + 1}"
        card = f"{keyword}  = {reference[axis] - corner[axis]:20.9f}".ljust(80)
        text = re.sub(rf"(?m)^{keyword}  =.*$", card, text)
    return text
