"""The header of a frame from those of several HDUs: of a keyword that is written twice in one, the first counts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from astropy.io import fits

from lcframework.frames.header_cards import LOOKS
from lcframework.types import Doubt, Severity

#: Keywords as the standard has them, the HIERARCH convention's and record-valued ones included.
_KEYWORD = re.compile(r"[A-Z0-9_ .-]*")
#: How integers in the file become values.
_STORAGE = ("BZERO", "BSCALE", "BLANK")
_COMMENTARY = ("COMMENT", "HISTORY", "")
# Three digits after a comma may be thousands, unless an exponent follows them.
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,(?:(?!\d{3}\b)\d+(?:[EeDd][+-]?\d+)?|\d{3}[EeDd][+-]?\d+)")
#: Keywords that may hold a number.
_NUMERIC = re.compile(
    "|".join((r"DATE|TIME|\bUT|MJD|\bJD|^(?:CR(?:VAL|PIX|OTA)|CD|PC|CTYPE|CDELT|CUNIT|LO[NT]POLE|PV|[AB]P?_)[\d_]",
              r"EQUINOX|RADESYS|BUNIT", *(p for q, patterns in LOOKS.items() if q != "site" for p in patterns)))
)  # fmt: skip
# Separators within the names of times do not matter. DATE is when the file was written: no number rests on it.
_TIMES = re.compile(
    r"DATE(?:AVG|BEG|OBS|UTC?|MID|STA(?:RT)?|END)|(?:MJD|JD)(?:AVG|MID|BEG|STRT?|OBS|END|UTC)?|UTJD|TIME(?:SYS|UNIT)?|"
    r"UTDATE|(?:UTC?|TIME)(?:OBS|STA?RT?|BEG|MID|TIME|AVG|END|STOP|UTC?)|UTC?|UTIME|GMT|UTSHUT|UTMIDDLE|OBSTART|EXPSTA?RT?|"
    r"MIDPOINT|MIDTIME"
)
_QUANTITIES = re.compile(
    r"EXPTIME|EXPOSURE|EXP[_-]TIME|XPOSURE|ITIME|INTTIME|TEXPTIME|E?GAIN|CVF|CCDGAIN|GAINEFF|"
    r"ESO DET OUT1 (?:CONAD|RON)|SATURATE|SATLEVEL|MAXLIN|SATURATA|RDNOISE|READNOIS?E?|ENOISE|RON|BUNIT|"
    r"FILTER|FILTNAM|FILTERID|(?:FILTER|FILT|FILTNAM|FILTERNAM|WHEEL|FWHEEL)[-_ ]?[1-9A-D]|(?:FILT|FILTER|FW)[1-9]NAME?"
    r"|FILTER[-_ ]?NAME[1-9]|ESO INS FILT\d+ NAME"
)
_WCS = re.compile(
    r"WCSAXES|(?:CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA)[12]|(?:CD|PC)[12]_[12]|PC00[12]00[12]|PV[12]_\d+|LONPOLE|LATPOLE|"
    r"RADE(?:C)?SYS|EQUINOX|EPOCH|[AB]P?_(?:ORDER|\d+_\d+)|WAT[012]_\d{3}"
)


def merged_header(headers: Sequence[fits.Header]) -> tuple[fits.Header, tuple[Doubt, ...]]:
    """Return the headers of several HDUs as one, later ones first, and what is doubtful about it.

    Of a keyword that is written twice in one HDU the first counts, as astropy and CFITSIO read it; where the two
    differ, that is a doubt, or a note where no number rests on it.
    """
    merged = fits.Header()
    doubts: dict[str, Doubt] = {}
    for header in headers:
        readable = _readable(header)
        for doubt in _without_repetitions(readable):
            doubts[doubt.subject] = doubt
        merged.update(readable)
    return merged, tuple(doubts.values())


def _without_repetitions(header: fits.Header) -> list[Doubt]:
    """Delete all but the first card of each keyword, and return what is doubtful about those that differ."""
    first: dict[str, fits.Card] = {}
    again: list[int] = []
    differing: dict[str, list[str]] = {}
    for i, card in enumerate(header.cards):
        if card.keyword in _COMMENTARY:
            continue
        if card.keyword not in first:
            first[card.keyword] = card
            continue
        again.append(i)
        if _plain(card) != _plain(first[card.keyword]):
            differing.setdefault(card.keyword, [repr(first[card.keyword].value)]).append(repr(card.value))
    for i in reversed(again):
        del header[i]
    return [_repeated(keyword, values) for keyword, values in differing.items()]


def numbers_rest_on(keyword: str) -> bool:
    """Whether header parsers or readers of a WCS read a keyword, by the names that are common."""
    time = re.sub(r"[-_ ]", "", keyword)
    return any(p.fullmatch(k) for p, k in ((_TIMES, time), (_QUANTITIES, keyword), (_WCS, keyword)))


def _plain(card: fits.Card) -> object:
    value = card.value
    return value.strip() if isinstance(value, str) else value


def _repeated(keyword: str, values: Sequence[str]) -> Doubt:
    return Doubt(
        "repeated_keyword",
        f"the header has {keyword} {len(values)} times ({', '.join(values)}): the first counts",
        "Correct the headers, or name another keyword in [header.fits]",
        severity=Severity.DOUBT if numbers_rest_on(keyword) else Severity.NOTE,
        subject=keyword,
    )


def _readable(header: fits.Header) -> fits.Header:
    """Return a header without the cards that can't be read: only who needs one of them shall miss it.

    Those that say how numbers are stored are left out too: what is read is what they mean. Numbers that were written
    with a decimal comma, which the reader takes for texts, become numbers.
    """
    out = header.copy(strip=True)
    for keyword in _STORAGE:
        out.remove(keyword, ignore_missing=True, remove_all=True)
    for i in reversed(range(len(out))):
        card = out.cards[i]
        try:
            card.verify("silentfix")
            str(card.value)
            readable = _KEYWORD.fullmatch(card.keyword) is not None and _has_value(card)
            if (number := _number_with_comma(card)) is not None:
                card.value = number
        except (fits.VerifyError, ValueError, UnicodeError):
            readable = False
        if not readable:
            del out[i]
    return out


def _has_value(card: fits.Card) -> bool:
    """Return whether a card is a comment by its keyword, or has a value: others can't be given one either."""
    return card.keyword in _COMMENTARY or card.image[8:10] == "= " or card.image.startswith("HIERARCH")


def _number_with_comma(card: fits.Card) -> float | None:
    """Return the number that a card has with a decimal comma; None for other cards, and for those that may be texts."""
    text = card.value.strip() if isinstance(card.value, str) else ""
    if not _NUMERIC.search(card.keyword) or not _DECIMAL_COMMA.fullmatch(text):
        return None
    return float(re.sub("[Dd]", "E", text.replace(",", ".")))
