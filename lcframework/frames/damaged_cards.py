"""Which card it is that makes a file unreadable: a number of its structure that is none."""

from __future__ import annotations

import io
import re
import warnings
import zlib
from pathlib import Path
from typing import BinaryIO

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from lcframework.types import open_packed

_BLOCK, _CARD = 2880, 80
#: So many blocks are searched for a card that is known to be damaged, and for any.
_BLOCKS, _FIRST = 200, 10
#: What says how the data are stored; a file is read by these alone.
_STRUCTURE = re.compile(rb"(?:SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|BZERO|BSCALE|BLANK|TFIELDS|ZNAXIS\d*) *$")


def damaged_card(path: Path) -> str:
    """Return the card, as it is written, that keeps a FITS file from being read; '' where it is not a card's fault."""
    named = _named_by_reader(path)
    try:
        with _opened(path) as stream:
            for number in range(_BLOCKS):
                block = stream.read(_BLOCK)
                if len(block) < _CARD:
                    break
                for card in (block[i : i + _CARD] for i in range(0, len(block), _CARD)):
                    keyword = card[:8].decode("ascii", "replace").strip()
                    asked = keyword in named or (not named and number < _FIRST and _STRUCTURE.match(card[:8]))
                    if asked and _damaged(card):
                        return card.decode("latin-1").strip()
    except (OSError, EOFError, zlib.error):
        pass
    return ""


def _opened(path: Path) -> BinaryIO:
    return open_packed(path) or path.open("rb")


def fits_source(path: Path) -> Path | io.BytesIO:
    """Return what astropy is to read: of a packed file the contents, because it takes the packed length for all."""
    stream = open_packed(path)
    if stream is None:
        return path
    with stream:
        return io.BytesIO(stream.read())


def _named_by_reader(path: Path) -> set[str]:
    """Return the keywords that the FITS reader names when it gives up."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AstropyWarning)
        said = []
        try:
            with fits.open(fits_source(path), lazy_load_hdus=False):
                pass
        except Exception as error:  # the reader has many kinds for damaged files
            said.append(str(error))
        said += [str(w.message) for w in caught]
    return {m for text in said for m in re.findall(r"Unparsable card \((\S+)\)", text)}


def _damaged(card: bytes) -> bool:
    if card[8:10] != b"= ":
        return False
    try:
        value = fits.Card.fromstring(card).value
    except (fits.VerifyError, ValueError, UnicodeError):
        return True
    keyword = card[:8].strip()
    return isinstance(value, str) and keyword not in (b"SIMPLE", b"XTENSION")
