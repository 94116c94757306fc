"""The WCS of a stamp, from its frame's."""

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
    """Return a frame's WCS header text as it holds for a stamp that starts at `corner`.

    `reference` is the frame's CRPIX. Only those two cards differ between stamps: writing them by hand spares a header
    for each.
    """
    for axis in (0, 1):
        key = f"CRPIX{axis + 1}"
        card = f"{key}  = {reference[axis] - corner[axis]:20.9f}".ljust(80)
        text = re.sub(rf"(?m)^{key}  =.*$", card, text)
    return text
