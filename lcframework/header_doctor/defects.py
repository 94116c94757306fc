"""Everything that keeps a header from being read: a parser stops at the first defect, which hides the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from lcframework.config.toolbox import Tool
from lcframework.frames.header_parsing import read_header
from lcframework.types import DataUnit, HeaderInfo, LcfError

if TYPE_CHECKING:
    from astropy.io import fits

#: Options by which a parser can be told what a header lacks, and harmless values of them.
_STAND_INS: dict[str, Any] = {"data_unit": DataUnit.ADU.value, "exptime": 1.0, "gain": 1.0}


@attrs.frozen
class Defects:
    """Why a header was refused.

    Attributes
    ----------
    reasons : tuple of str
        Each defect once.
    info : HeaderInfo or None
        What can be read all the same; None where not even the rest can be read.
    unread : frozenset of str
        The quantities of `info` that are stand-ins.
    """

    reasons: tuple[str, ...]
    info: HeaderInfo | None = None
    unread: frozenset[str] = frozenset()


def all_defects(parsers: Sequence[Tool], header: fits.Header, path: Path, first: str) -> Defects:
    """Return everything for which the parsers refuse a header.

    Each quantity that a parser has an option for is replaced by a stand-in, all but one in turn: what is refused then
    is that one's defect. What is refused with all of them is another's.

    Parameters
    ----------
    parsers : sequence of Tool
    header : Header
        That they refuse.
    path : Path
        The file.
    first : str
        The reason that they gave.
    """
    names = [n for n in _STAND_INS if any(n in attrs.fields_dict(type(p.instance)) for p in parsers)]
    _, rest = _tried(parsers, header, path, names)
    reasons, unread = [], set()
    for name in names:
        _, reason = _tried(parsers, header, path, [n for n in names if n != name])
        if reason and reason != rest:
            reasons.append(reason)
            unread.add(name)
    info, rest = _tried(parsers, header, path, [n for n in names if n in unread])
    if rest:
        reasons.append(rest)
    return Defects(tuple(dict.fromkeys(reasons)) or (first,), info, frozenset(unread))


def _tried(
    parsers: Sequence[Tool], header: fits.Header, path: Path, names: Sequence[str]
) -> tuple[HeaderInfo | None, str]:
    """Return what parsers read with stand-ins for some quantities, or why they refuse the header all the same."""
    changed = []
    for parser in parsers:
        known = attrs.fields_dict(type(parser.instance))
        stand_ins = {n: _STAND_INS[n] for n in names if n in known and not getattr(parser.instance, n)}
        changed.append(attrs.evolve(parser, instance=attrs.evolve(parser.instance, **stand_ins)))
    try:
        return read_header(changed, header, path)[1], ""
    except LcfError as error:
        return None, str(error)
