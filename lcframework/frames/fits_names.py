"""By which endings FITS files are known, and the pattern that most files of a folder have."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

#: In any case; and of those that are compressed.
_ENDING = re.compile(r"\.(fits?|fts)(\.(fz|gz|bz2|Z))?$", re.IGNORECASE)


def fits_ending(name: str) -> str:
    """Return the ending by which a file is a FITS file, such as ``".fits.fz"``; empty where it is none."""
    found = _ENDING.search(name)
    return found[0] if found else ""


def likely_pattern(folder: Path) -> str:
    """Return the pattern of the most frequent ending of a folder's FITS files, of sub-folders where it has none itself.

    Parameters
    ----------
    folder : Path
        Need not exist.

    Returns
    -------
    str
        As ``[frames] pattern``; empty where there is no such file.
    """
    for start in ("", "**/"):
        endings = Counter(filter(None, (fits_ending(p.name) for p in folder.glob(f"{start}*") if p.is_file())))
        if endings:
            return f"{start}*{endings.most_common(1)[0][0]}"
    return ""
