"""The AAVSO's codes of filters, from names of bands, and the names of other programs from these codes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lcframework.types import UnusableInput

#: The AAVSO's codes of filters (its page "AAVSO Extended File Format"). Case matters: R and I are Cousins', U is
#: Johnson's; r, i and u are Sloan's. A bare b or v is taken for Johnson's, written in lower case, and a bare y for that
#: near 1 micron, of Pan-STARRS and the Rubin Observatory: filters of Strömgren's must say so. Bands of Tycho and Gaia
#: have no code.
AAVSO_FILTERS = {
    "U": "U", "B": "B", "b": "B", "V": "V", "v": "V", "R": "R", "Rc": "R", "R_c": "R", "R_C": "R", "RC": "R",
    "I": "I", "Ic": "I", "I_c": "I", "I_C": "I", "IC": "I", "R_J": "RJ", "RJ": "RJ", "I_J": "IJ", "IJ": "IJ",
    "u": "SU", "g": "SG", "r": "SR", "i": "SI", "z": "SZ", "zs": "ZS", "z_s": "ZS", "y": "Y", "Y": "Y",
    "J": "J", "H": "H", "K": "K", "Ks": "K", "j": "J", "h": "H", "k": "K", "ks": "K",
}  # fmt: skip
#: Names of filters in words, in lower case.
_IN_WORDS = {
    "clear": "CV", "none": "CV", "": "CV", "luminance": "CV", "l": "CV", "red": "TR", "green": "TG", "blue": "TB",
    "halpha": "HA", "h-alpha": "HA", "ha": "HA",
}  # fmt: skip
#: What says of which system a band is, before or behind its letter. A letter with p alone is Sloan's in lower case
#: only: RP, BP and GP are Gaia's.
_SLOAN = re.compile(
    r"^(?i:sdss|sloan)[ _.-]?([ugrizUGRIZ])['p]?$|^([ugriz])p$|^([ugrizUGRIZ])'$|"
    r"^([ugrizUGRIZ])['p]?[ _.-]?(?i:sdss|sloan|prime)$"
)
_PANSTARRS = re.compile(r"^(?:ps1?|panstarrs)[ _.-]?([grizy])$|^([grizy])[ _.-]?(?:ps1?|panstarrs)$", re.IGNORECASE)
_AUTHORS = "(?:johnson|bess?(?:ell?)?|cousins)"
_JOHNSON = re.compile(rf"^{_AUTHORS}[ _.-]?([UBVRI])c?$|^([UBVRI])c?[ _.-]?{_AUTHORS}$", re.IGNORECASE)
_STROEMGREN_NAME = "str(?:(?:o|ö|oe)mgren|om)?"
_STROEMGREN = re.compile(rf"^{_STROEMGREN_NAME}[ _.-]?([uvby])$|^([uvby])[ _.-]?{_STROEMGREN_NAME}$", re.IGNORECASE)
#: A letter and a width in nm, as the ESO names broad filters: Rc/162, B-123.
_WITH_WIDTH = re.compile(r"^([UBV]|[RI]c?)[/-]\d{2,3}$")
#: The code for a filter that has none of its own; reports describe it in their notes.
OTHER = "O"


def aavso_filter(band: str) -> str:
    """Return the AAVSO's code of a band; O, its "other", where it has none for it."""
    name = band.strip()
    if code := AAVSO_FILTERS.get(name) or _IN_WORDS.get(name.lower()):
        return code
    if letter := _letter(_JOHNSON, name) or _letter(_WITH_WIDTH, name):
        return AAVSO_FILTERS[letter[0].upper()]
    if letter := _letter(_STROEMGREN, name):
        return f"ST{letter.upper()}"
    if letter := panstarrs_letter(name):
        return {"z": "ZS", "y": "Y"}.get(letter, AAVSO_FILTERS[letter])
    letter = _letter(_SLOAN, name)
    return AAVSO_FILTERS[letter.lower()] if letter else OTHER


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
    return _letter(_PANSTARRS, band.strip()).lower()


def _letter(pattern: re.Pattern[str], name: str) -> str:
    """Return what the one group that took part in a match holds; empty where the pattern does not match."""
    match = pattern.match(name)
    return next((group for group in match.groups() if group), "") if match else ""
