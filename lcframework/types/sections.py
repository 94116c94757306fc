"""Sections of an image as FITS headers write them: ``[x1:x2,y1:y2]``, counted from 1, both ends included."""

from __future__ import annotations

import re

Slices = tuple[slice, slice]

_RANGE = r"\s*(?:(\d+)\s*:\s*(\d+)|([*:]))\s*"
_SECTION = re.compile(rf"\[{_RANGE},{_RANGE}\]")


def is_section(text: str) -> bool:
    """Whether a text is a section as FITS headers have them, such as ``[1:20,1:2048]``."""
    return _SECTION.fullmatch(text.strip()) is not None


def section_slices(text: str, shape: tuple[int, int]) -> Slices | None:
    """Return a section as slices (y, x) of an image (ny, nx); None where it is no section, or not within the image."""
    match = _SECTION.fullmatch(text.strip())
    if match is None:
        return None
    slices = []
    for (first, last, _), n in zip((match.groups()[:3], match.groups()[3:]), shape[::-1], strict=True):
        low, high = sorted((int(first), int(last))) if first else (1, n)
        if not 1 <= low <= high <= n:
            return None
        slices.append(slice(low - 1, high))
    return slices[1], slices[0]
