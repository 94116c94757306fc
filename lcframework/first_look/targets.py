"""The target: by its name, by coordinates, or by what headers say."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from lcframework.frames.header_cards import text_of
from lcframework.header_doctor.pointing import OF_TARGET, OF_TELESCOPE, position_by
from lcframework.types import LcfError

if TYPE_CHECKING:
    from astropy.io import fits

_NAMES = ("OBJECT", "OBJNAME", "TARGET", "TARGNAME", "OBJ_NAME")
#: The name service and the seconds to wait for it.
SESAME = "cds.unistra.fr"
_PATIENCE = 4.0


@attrs.frozen
class Target:
    """What is observed.

    Attributes
    ----------
    name : str
        As it can be a region's name.
    ra, dec : float
        Degrees, ICRS.
    note : str
        What to look at; empty where it was given.
    """

    name: str
    ra: float
    dec: float
    note: str = ""


def reachable(host: str) -> bool:
    """Whether a service answers at all."""
    try:
        with socket.create_connection((host, 443), timeout=_PATIENCE):
            return True
    except OSError:
        return False


def by_name(name: str) -> tuple[float, float]:
    """Return the position of a named object by the name service Sesame, degrees.

    Raises
    ------
    LcfError
        Where it does not know the name, or does not answer.
    """
    from astropy.coordinates import SkyCoord, name_resolve

    try:
        found = SkyCoord.from_name(name)
    except name_resolve.NameResolveError as error:
        raise LcfError(f'--ra DEG --dec DEG: the name service knows no "{name}" ({error})') from None
    return float(found.icrs.ra.deg), float(found.icrs.dec.deg)


def header_name(headers: Sequence[fits.Header]) -> str:
    """Return what the headers call the target; empty where they don't agree."""
    for keyword in _NAMES:
        names = {text_of(h, keyword) for h in headers}
        if len(names) == 1 and (name := names.pop()) and name.lower() not in ("unknown", "none", "object"):
            return name
    return ""


def region_name(name: str) -> str:
    """Return a name as that of a region: letters, digits and what TOML keys and file names take."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "target"


def by_header(headers: Sequence[fits.Header]) -> Target | None:
    """Return the target by the keywords of the middle header; None where they don't say it."""
    middle = headers[len(headers) // 2]
    name = header_name(headers)
    for pairs, what in ((OF_TARGET, "the target's place"), (OF_TELESCOPE, "where the telescope pointed")):
        if (found := position_by(middle, pairs)) and (name or pairs is OF_TARGET):
            ra, dec, keywords = found
            text = f"the target is {ra:.5f} {dec:+.5f}, {what} by {keywords}"
            check = "" if pairs is OF_TARGET else ": pointing is seldom exact, so correct [roi] if no star is there"
            return Target(region_name(name), ra, dec, text + check)
    return None
