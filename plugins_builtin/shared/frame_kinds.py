"""Whether a raw file is a bias, a dark, a flat or a frame of the sky, by its header."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from plugins_builtin.shared.header_values import first_text, plain_name, text_of

if TYPE_CHECKING:
    from astropy.io import fits

LIGHT = "light"
#: Names of keywords for the kind of a frame that nobody listed, without separators: IMGTYPE, FRAMETYP, OBSCLASS, ...
_KIND = re.compile(
    r"(?:.*(?:IMA?GE?|PICT?|FRA?ME?|EXPO?S?|OBSE?R?V?|CCD|DATA|FILE|FITS|SHOT|ACQ|DPR)(?:TYPE?|KIND|CLASS|CATG?))$"
)


def kind_of_frame(header: fits.Header, keywords: Sequence[str], words: Mapping[str, Sequence[str]]) -> str:
    """Return the kind of a frame; ``"light"`` for one of the sky, '' where the header does not say it.

    Parameters
    ----------
    header : Header
    keywords : sequence of str
        The first that has a text says it. Where none has, a keyword whose name says that it holds a frame's kind may
        tell a calibration frame.
    words : mapping
        The parts of that text by which each kind is known, in the order in which they are looked for.
    """
    if text := first_text(header, keywords):
        return _kind(text, words) or LIGHT
    unlisted = [text_of(header, k) for k in dict.fromkeys(header) if k and _KIND.match(plain_name(k))]
    known = [kind for text in unlisted if (kind := _kind(text, words))]
    return known[0] if known else (LIGHT if any(unlisted) else "")


def _kind(text: str, words: Mapping[str, Sequence[str]]) -> str:
    lower = text.lower()
    return next((kind for kind, parts in words.items() if any(part.lower() in lower for part in parts)), "")
