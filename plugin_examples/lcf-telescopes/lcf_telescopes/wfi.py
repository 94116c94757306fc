"""MPG/ESO 2.2 m at La Silla, Wide Field Imager: raw files of ESO's archive, eight CCDs.

Each CCD's header names the gain by the output through which it was read, so the keyword differs from CCD to CCD, and
some CCDs have none.

Sources
-------
ESO, "Data Interface Control Document", http://archive.eso.org/dicb/dicd/dic-1-1.d.html: DATE-OBS and MJD-OBS are the
start of the exposure, EXPTIME is in seconds.
ESO, "WFI Frequently Asked Questions", http://eso.org/sci/facilities/lasilla/instruments/wfi/doc/WFIfaq.html: several
filters of one letter, such as B/99 and B/123, which differ.
THELI, src/tools/splitter_buildHeader.cc, https://github.com/schirmermischa/THELI: "Does not have GAIN keywords for all
detectors"; gains of 1.99 to 2.68 e-/ADU by ESO's quality control.
COSMOULINE, module headerstuff, https://github.com/COSMOGRAIL/COSMOULINE: 2.0 e-/ADU and 4.5 e- by the user manual.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from lcf_telescopes import cards
from lcframework.hookspecs import hookimpl
from lcframework.types import HeaderInfo

if TYPE_CHECKING:
    from astropy.io import fits

#: ESO's filter names: "BB#Rc/162_ESO844" is the broad-band filter Rc, 162 nm wide, number 844.
_FILTER = re.compile(r"[A-Z]B#(?P<name>[^/]+)/(?P<width>\d+)")


@attrs.frozen
class Wfi:
    """Frames of the Wide Field Imager; a gain that the header does not have is measured in the frames' noise."""

    results_version: ClassVar[int] = 1

    gain: float = cards.from_header_or_option()  # e-/ADU; 0: from the header
    read_noise: float = cards.from_header_or_option()  # e-; 0: from the header

    def parse(self, header: fits.Header, path: Path) -> HeaderInfo | None:
        """Return what the header says, or None where another instrument wrote it (Siding Spring has a WFI, too)."""
        if cards.text(header, "INSTRUME") != "WFI" or "2.2" not in cards.text(header, "TELESCOP"):
            return None
        return HeaderInfo(
            exptime=cards.exposure_time(header),
            gain=self.gain or _of_output(header, "CONAD"),
            mjd=cards.mjd_utc(header, "DATE-OBS"),
            time_source="DATE-OBS",
            band=band(cards.text(header, "ESO INS FILT1 NAME")),
            instrument="WFI",
            site="La Silla",
            read_noise=self.read_noise or _of_output(header, "RON"),
        )


def band(name: str) -> str:
    """Return a filter's name without what is the same for all: B-123 of "BB#B/123_ESO878"."""
    match = _FILTER.match(name)
    return f"{match['name']}-{match['width']}" if match else name


def _of_output(header: fits.Header, what: str) -> float:
    """Return a number of the CCD's output; nan where the header has none, or several that differ."""
    found = {cards.number(header, f"ESO DET OUT{i} {what}") for i in range(1, 9)}
    found = {value for value in found if not math.isnan(value)}
    return found.pop() if len(found) == 1 else math.nan


@hookimpl
def lcf_header_parsers() -> dict[str, type]:
    """Offer the parser under the name that [header] plugin picks."""
    return {"wfi": Wfi}
