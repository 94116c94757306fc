"""The filter through which a frame was taken, by the keywords of one filter or of several wheels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lcframework.types import Doubt
from plugins_builtin.shared.header_values import as_number, text_of, value_of

if TYPE_CHECKING:
    from astropy.io import fits

#: Keywords that name the filter as a whole.
BAND = ("FILTER", "FILTNAM", "FILTERID")
_WHEEL = re.compile(
    r"(?:FILTER|FILT|FILTNAM|FILTERNAM|WHEEL|FWHEEL)[-_ ]?[1-9A-D]|(?:FILT|FILTER|FW)[1-9]NAME?|FILTER[-_ ]?NAME[1-9]|"
    r"ESO INS FILT\d+ NAME"
)
#: Names of keywords for a filter that nobody listed (FILTNAME, INSFILTE, CCDFLTID, PASSBAND), and those among them that
#: tell something else about it.
_UNLISTED = re.compile(r"FI?LT|^(?:PASS|WAVE|OBS|WFF)?BAND(?:NAME|PASS|ID)?$")
_ABOUT = re.compile(
    r"STAT|POS|MODE|TEMP|FOC|SLOT|NUM|ERR|OFF|DATE|TIME|UNIT|COM|DESC|VER|FILE|PATH|URL|WAV|LAM|WID|CEN|TYPE?$|SER|MOV|"
    r"SYS|ZP|THR|REF|COR"
)
#: A filter's name has no more letters; a sentence has.
_LONGEST = 24
#: What names of filters say beside the band: the system and words for a filter.
_SYSTEM = re.compile(r"sdss|sloan|johnson|cousins|bess?ell?|harris|kron|stromgren|filter|band|prime|generic")
#: What stands where a wheel has no filter in the beam, without its separators and figures.
_NO_FILTER = {
    "clr", "none", "null", "nan", "air", "free", "blank", "hole", "out", "outofbeam", "notused", "unused",
    "noneinstalled", "nothing", "home", "undefined", "unknown",
}  # fmt: skip
_NO_FILTER_SO = re.compile(r"(?:clear|empty|open|nofilter)(?:ed|[ls]|slot|hole|glass|filter|position|wheel)?")
_CURE = "Name the right keyword by band_keyword in [header.fits], or set band there"


def no_filter(text: str) -> bool:
    """Whether what a wheel says means that none of its filters is in the beam."""
    if as_number(text) is not None:
        return False
    if not re.search(r"[A-Za-z0-9]", text):
        return True
    letters = re.sub(r"[^a-z]", "", text.lower().rpartition(":")[2])
    return text.lower() == "n/a" or letters in _NO_FILTER or _NO_FILTER_SO.fullmatch(letters) is not None


def filter_name(header: fits.Header) -> tuple[str, tuple[Doubt, ...]]:
    """Return the name of the filter, and what is doubtful about it; '' where no keyword names one.

    FILTER and its relatives name the whole; where they are one wheel of several, or have no filter in the beam, the
    filters of all wheels are joined by ``+``. Where none of them names one, a keyword whose name contains FILT and
    whose value is a name does. A wheel's position, a mere number, is taken where there is nothing else.
    """
    whole = {k: t for k in BAND if (t := text_of(header, k))}
    wheels = {k: t for k in dict.fromkeys(header) if _WHEEL.fullmatch(k) and (t := text_of(header, k))}
    wheels = dict(sorted(wheels.items()))
    first = next(iter(whole), "")
    if first == "FILTER" and wheels and not any(re.search(r"1|A\b", k) for k in wheels):
        wheels = {"FILTER": whole.pop("FILTER"), **wheels}  # it is the first of them
    summary, in_wheels = _chosen(list(whole.values())), _chosen(list(wheels.values()))
    band = "+".join(summary[:1] or in_wheels)
    if not band or as_number(band) is not None:
        elsewhere, doubts = _unlisted(header, {*whole, *wheels})
        if elsewhere:
            return elsewhere, doubts
    if not band:
        out_of_beam = [*whole.values(), *wheels.values(), *_named_elsewhere(header, set()).values()]
        return next(iter(out_of_beam), ""), ()
    named = [t for t in summary if as_number(t) is None]
    doubts = _against(band, named[1:], "keywords") or (
        _against(band, _joined(in_wheels), "filter wheels") if named else ()
    )
    return band, doubts or _two_bands(in_wheels if not summary else [])


def _named_elsewhere(header: fits.Header, known: set[str]) -> dict[str, str]:
    """Return the texts of keywords whose names say that they name a filter, though nobody listed them."""
    found = {}
    for keyword in dict.fromkeys(header):
        name = keyword.upper()
        if keyword in known or not _UNLISTED.search(name) or _ABOUT.search(name):
            continue
        value, text = value_of(header, keyword), text_of(header, keyword)
        if isinstance(value, str) and text and len(text) <= _LONGEST and as_number(text) is None:
            found[keyword] = text
    return found


def _unlisted(header: fits.Header, known: set[str]) -> tuple[str, tuple[Doubt, ...]]:
    """Return the filter in the beam by keywords that nobody listed; those of numbered wheels are joined."""
    found = _named_elsewhere(header, known)
    wheels = _chosen([t for k, t in sorted(found.items()) if re.search(r"\d", k)])
    whole = _chosen([t for k, t in found.items() if not re.search(r"\d", k)])
    if whole:
        return whole[0], _against(whole[0], whole[1:], "keywords")
    return "+".join(wheels), _two_bands(wheels)


def _joined(parts: Sequence[str]) -> list[str]:
    return ["+".join(parts)] if parts and as_number(parts[0]) is None else []


def _in_beam(text: str) -> str:
    """Return a name without those of its parts that mean no filter: "Clear+V" is V."""
    parts = re.split(r"\s*[+;,&|]\s*", text)
    if not parts[-1]:  # the plus is a part of the name, as in r+
        return text
    kept = [p for p in parts if not no_filter(p)]
    return "+".join(kept) if kept and len(kept) < len(parts) else text


def _chosen(texts: Sequence[str]) -> list[str]:
    """Return the filters that are in the beam; the positions of wheels where no name is there."""
    used = [_in_beam(t) for t in dict.fromkeys(texts) if not no_filter(t)]
    names = [t for t in used if as_number(t) is None]
    return names or used


def _against(band: str, others: Sequence[str], where: str) -> tuple[Doubt, ...]:
    """Return the doubt that other names are of another filter."""
    for other in others:
        if not _alike(band, other):
            text = f"the band was taken for {band!r}, but the header's {where} say {other!r}"
            return (Doubt("bands_disagree", text, _CURE),)
    return ()


def _alike(a: str, b: str) -> bool:
    """Whether two names may be of one filter: words in common, or one within the other."""
    if {w.lower() for w in re.findall(r"\w+'?", a)} & {w.lower() for w in re.findall(r"\w+'?", b)}:
        return True
    short, long = sorted((_flat(a), _flat(b)), key=len)
    return short.rstrip("cjps") == long.rstrip("cjps") or (len(short) > 1 and short in long)


def _two_bands(parts: Sequence[str]) -> tuple[Doubt, ...]:
    """Return the doubt that two wheels both have a filter of a photometric system in the beam."""
    bands = [p for p in parts if re.fullmatch(r"[ubvrigzyjhk][cjps]?", _flat(p))]
    if len(bands) < 2:
        return ()
    return (Doubt("bands_disagree", f"the filter wheels have {' and '.join(bands)} in the beam at once", _CURE),)


def _flat(text: str) -> str:
    flat = re.sub(r"[^a-z0-9]", "", text.lower())
    return _SYSTEM.sub("", flat) or flat
