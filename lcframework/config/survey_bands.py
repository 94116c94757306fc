"""Which band of a survey a filter is, by its name."""

from __future__ import annotations

import re

#: The band that calibrates frames whose filter's name says none.
USUAL = "r_sdss"
#: Words in names of filters that do not say which band it is.
_WORDS = re.compile(r"(?i)johnson|bess?ell?|cousins|kron|harris|filter|band|[\s_()-]+")
_SLOAN = re.compile(r"(?i)(?:sdss|sloan)([gri])(?:'|p|prime)?"), re.compile(r"([gri])(?:'|p|prime)?")
_JOHNSON_COUSINS = {"V": "V", "R": "R", "Rc": "R", "I": "Ic", "Ic": "Ic"}
#: Filters of photometric systems that have no relation to Gaia's bands here.
_OTHER_BANDS = re.compile(r"(?i)(?:sdss|sloan|ps1?|panstarrs)?[uzy](?:'|p|s|prime)?|U|B|[YJHK]s?|(?:sdss|sloan)?w")


def survey_band(band: str) -> str:
    """Return the band of the survey ``gaia`` that a filter is, by its name; '' for one that is none of them.

    Capital letters are Johnson's and Cousins', small ones and primes those of the Sloan survey.
    """
    plain = _WORDS.sub("", band)
    for pattern in _SLOAN:
        if sloan := pattern.fullmatch(plain):
            return f"{sloan[1].lower()}_sdss"
    return _JOHNSON_COUSINS.get(plain, "")


def is_another_band(band: str) -> bool:
    """Return whether a filter's name is that of a photometric band that `survey_band` does not know, such as B."""
    return not survey_band(band) and _OTHER_BANDS.fullmatch(_WORDS.sub("", band)) is not None
