"""Lowell Observatory, Hall 42 inch, camera NASA42: raw files of the acquisition program LOIS.

Date and time stand apart (DATE-OBS, UTCSTART). Each of four amplifiers has its gain and read noise, whether it is used
or not: AAMP_01 to AAMP_04 say which is.

Sources
-------
The headers of 23 public teaching frames of 26 March 2019, whose comments say what is meant ("universal time (start of
exposure)", "Gain for amplifier 01", "1 if used, 0 if not used"). No documentation of LOIS was found in public.
The gain in the header, 4.95 e-/ADU, is not what the noise of these frames shows: pairs of flats give 3.66 to 3.76. A
run measures it and says so; `gain` sets it. The stars pile up at 65535 ADU.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from lcf_telescopes import cards
from lcframework.hookspecs import hookimpl
from lcframework.options import above
from lcframework.types import HeaderInfo, UnusableInput

if TYPE_CHECKING:
    from astropy.io import fits


@attrs.frozen
class Hall42:
    """Frames of the Hall telescope that one amplifier read."""

    results_version: ClassVar[int] = 1

    gain: float = cards.from_header_or_option()  # e-/ADU; 0: from the header
    saturation: float = attrs.field(default=65535.0, validator=above(0.0, finite=True))  # ADU, the converter's end

    def parse(self, header: fits.Header, path: Path) -> HeaderInfo | None:
        """Return what the header says, or None where another telescope wrote it.

        Raises
        ------
        UnusableInput
            Also for frames that several amplifiers read.
        """
        if cards.text(header, "LTELMOD") != "hall" or not cards.text(header, "LOISVERS"):
            return None
        used = [k for k in ("01", "02", "03", "04") if cards.number(header, f"AAMP_{k}") == 1]
        if len(used) != 1:
            raise UnusableInput(f"{len(used)} amplifiers read this frame (AAMP_01 to AAMP_04): one gain is needed")
        return HeaderInfo(
            exptime=cards.exposure_time(header),
            gain=self.gain or cards.number(header, f"AGAIN_{used[0]}"),
            mjd=cards.mjd_utc(header, "DATE-OBS", clock="UTCSTART"),
            time_source="DATE-OBS+UTCSTART",
            band=self.filter_of(header),
            instrument="Hall42-NASA42",
            site="Anderson Mesa",
            saturation=self.saturation,
            read_noise=cards.number(header, f"ARDNS_{used[0]}"),
        )

    def filter_of(self, header: fits.Header) -> str:
        """Return the filter, by which flats are matched."""
        return cards.text(header, "FILTNAME")


@hookimpl
def lcf_header_parsers() -> dict[str, type]:
    """Offer the parser under the name that [header] plugin picks."""
    return {"hall42": Hall42}
