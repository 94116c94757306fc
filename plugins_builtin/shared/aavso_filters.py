"""The AAVSO's codes of filters, from names of bands, and the names of other programs from these codes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lcframework.types import UnusableInput

#: The AAVSO's codes of filters (its page "AAVSO Extended File Format"). Case matters: R and I are Cousins', U is
#: Johnson's; r, i and u are Sloan's. Bands of Tycho and Gaia have no code.
AAVSO_FILTERS = {
    "U": "U", "B": "B", "b": "B", "V": "V", "v": "V", "R": "R", "Rc": "R", "R_c": "R", "R_C": "R", "RC": "R",
    "I": "I", "Ic": "I", "I_c": "I", "I_C": "I", "IC": "I", "R_J": "RJ", "RJ": "RJ", "I_J": "IJ", "IJ": "IJ",
    "u": "SU", "g": "SG", "r": "SR", "i": "SI", "z": "SZ", "y": "Y", "J": "J", "H": "H", "K": "K", "Ks": "K",
    "j": "J", "h": "H", "k": "K", "ks": "K",
}  # fmt: skip
#: Names of filters in words, in lower case.
_IN_WORDS = {
    "clear": "CV", "none": "CV", "": "CV", "luminance": "CV", "l": "CV", "red": "TR", "green": "TG", "blue": "TB",
    "halpha": "HA", "h-alpha": "HA", "ha": "HA",
}  # fmt: skip
#: What says of which system a band is, before or behind its letter.
_SLOAN = re.compile(r"^(?:sdss|sloan)[ _.-]?([ugriz])$|^([ugriz])['p]?[ _.-]?(?:sdss|sloan|prime)?$", re.IGNORECASE)
_PANSTARRS = re.compile(r"^(?:ps1?|panstarrs)[ _.-]?([grizy])$|^([grizy])[ _.-]?(?:ps1?|panstarrs)$", re.IGNORECASE)
_AUTHORS = "(?:johnson|bessell|cousins)"
_JOHNSON = re.compile(rf"^{_AUTHORS}[ _.-]?([UBVRI])$|^([UBVRI])[ _.-]?{_AUTHORS}$", re.IGNORECASE)
#: The code for a filter that has none of its own; reports describe it in their notes.
OTHER = "O"


def aavso_filter(band: str) -> str:
    """Return the AAVSO's code of a band; O, its "other", where it has none for it."""
    name = band.strip()
    if code := AAVSO_FILTERS.get(name) or _IN_WORDS.get(name.lower()):
        return code
    if match := _JOHNSON.match(name):
        return AAVSO_FILTERS[(match[1] or match[2]).upper()]
    if match := _PANSTARRS.match(name):
        letter = (match[1] or match[2]).lower()
        return {"z": "ZS", "y": "Y"}.get(letter, AAVSO_FILTERS[letter])
    match = _SLOAN.match(name)
    return AAVSO_FILTERS[(match[1] or match[2]).lower()] if match and len(name) > 1 else OTHER


def given_filter(band: str, given: Mapping[str, str]) -> str:
    """Return what the option `filters` calls a band, whatever the case; empty where it does not name it."""
    return given.get(band) or {k.lower(): v for k, v in given.items()}.get(band.lower()) or ""


def filter_named(band: str, given: Mapping[str, str], names: Mapping[str, str], whose: str) -> str:
    """Return another program's name of a band.

    Parameters
    ----------
    band : str
        The band of the light curve.
    given : mapping
        The option `filters`: names that the user gives to bands, whatever the case.
    names : mapping
        The program's names by the AAVSO's codes.
    whose : str
        The program, for the message.

    Raises
    ------
    UnusableInput
        Where the band has no such name.
    """
    found = given_filter(band, given) or names.get(aavso_filter(band))
    if not found:
        known = ", ".join(dict.fromkeys(names.values()))
        example = f'-o filters=\'{{"{band}" = "NAME"}}\''
        raise UnusableInput(f'{whose} has no filter for the band "{band}": name one of {known} by {example}')
    return found


def panstarrs_letter(band: str) -> str:
    """Return the letter of a band of Pan-STARRS; empty for a band of others."""
    match = _PANSTARRS.match(band.strip())
    return (match[1] or match[2]).lower() if match else ""
