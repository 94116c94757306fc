"""Calls the header parsers one after another, and checks the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from lcframework.config.toolbox import GENERIC_PARSER, Tool
from lcframework.types import HeaderInfo, LcfError, UnusableInput

if TYPE_CHECKING:
    from astropy.io import fits


def parse_header(parsers: Sequence[Tool], header: fits.Header, path: Path) -> HeaderInfo:
    """Return the values of a header; raises as :func:`read_header`."""
    return read_header(parsers, header, path)[1]


def read_header(parsers: Sequence[Tool], header: fits.Header, path: Path) -> tuple[str, HeaderInfo]:
    """Return the name of the parser that accepts a header, and its values; the generic parser is called last.

    Raises
    ------
    UnusableInput
        Where no parser accepts the header, values are invalid, or two specific parsers accept it.
    """
    specific = [p for p in parsers if p.name != GENERIC_PARSER]
    claims = [(p.name, answer) for p in specific if (answer := p.ask("parse", header, path)) is not None]
    if len(claims) > 1:
        names = " and ".join(f'"{name}"' for name, _ in claims)
        raise UnusableInput(f"the header parsers {names} both claim {path.name}; name the right one in [header] plugin")
    for generic in (p for p in parsers if p.name == GENERIC_PARSER and not claims):
        answer = generic.ask("parse", header, path)
        claims = [(generic.name, answer)] if answer is not None else []
    if not claims:
        names = ", ".join(p.name for p in parsers)
        raise UnusableInput(f"no header parser knows {path.name} (asked: {names}); `lcf plugins` lists those installed")
    parser, answer = claims[0]
    info = header_info(answer, parser)
    return parser, attrs.evolve(info, instrument=_for_keys(info.instrument), band=_for_keys(info.band))


def _for_keys(text: str | None) -> str:
    """Return an instrument or band as it can be a part of products' keys, which colons join."""
    return str(text or "").replace(":", "-")


def read_band(parsers: Sequence[Tool], header: fits.Header, path: Path) -> str:
    """Return the filter that a file was taken through, by its header; empty where it names none.

    A flat need not have all that a frame of the sky must: where it can't be read as one, the generic parser may still
    tell its filter.

    Parameters
    ----------
    parsers : sequence of Tool
        The header parsers.
    header : Header
        The file's, merged.
    path : Path
        The file.
    """
    try:
        parser, info = read_header(parsers, header, path)
    except LcfError:
        parser, info = GENERIC_PARSER, None
    filter_of = next((getattr(p.instance, "filter_of", None) for p in parsers if p.name == parser), None)
    if filter_of is not None:
        return _for_keys(filter_of(header))
    return info.band if info is not None else ""


def header_info(answer: Any, parser: str) -> HeaderInfo:
    """Return a parser's answer as :class:`HeaderInfo`; the documented dictionary is accepted too."""
    if isinstance(answer, HeaderInfo):
        return answer
    if not isinstance(answer, Mapping):
        raise LcfError(f"the header parser {parser} returned a {type(answer).__name__}; HeaderInfo or a dict is needed")
    known = set(attrs.fields_dict(HeaderInfo))
    missing, unknown = {"exptime", "gain", "mjd"} - set(answer), set(answer) - known
    if missing or unknown:
        raise UnusableInput(
            f"the header parser {parser} returned a dict"
            + (f" without {', '.join(sorted(missing))}" if missing else "")
            + (f" with unknown {', '.join(sorted(unknown))} (known: {', '.join(sorted(known))})" if unknown else "")
        )
    try:
        return HeaderInfo(**answer)
    except (TypeError, ValueError) as error:
        raise UnusableInput(f"the header parser {parser}: {error}") from None
