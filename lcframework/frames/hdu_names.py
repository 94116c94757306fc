"""Which image of a file with several HDUs is the exposure, by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Names (EXTNAME) of images that are made for another: masks, errors, weights, backgrounds, look-up tables.
_ABOUT_ANOTHER = re.compile(
    r"MASK|BPM|BADPIX|\bDQ|QUALI|FLAG|ERR|UNC|VAR|WEIGHT|WHT|WGT|SIGMA|RMS|NOISE|BACKG|BKG|BACK\b|EXPMAP|\bCTX|"
    r"\bCON\b|COVERAGE|APERTURE|SAMP|\bTIME|AREA|PSF|SEGM|THUMB|PREVIEW|D2IM|WCSDVARR|MODEL|RESID|OVERSCAN",
    re.IGNORECASE,
)


#: The name that astropy gives to a compressed image that has none.
_NO_NAME = "COMPRESSED_IMAGE"


def listed(number: int, name: str) -> str:
    """Return an HDU for a message: its number, and its name where it has one."""
    return f"{number} ({name})" if name and name != _NO_NAME else f"{number}"


def is_about_another(name: str) -> bool:
    """Whether an image is made for another, by its name: a mask, an error, a weight."""
    return _ABOUT_ANOTHER.search(name) is not None


def only_exposure(names: Sequence[str | None]) -> int | None:
    """Return the number of the one HDU that is an exposure; None where there is none, or several.

    Parameters
    ----------
    names : sequence of str or None
        Of the HDUs; None for one that holds no images, '' for one without a name.
    """
    exposures = [i for i, name in enumerate(names) if name is not None and not is_about_another(name)]
    return exposures[0] if len(exposures) == 1 else None
