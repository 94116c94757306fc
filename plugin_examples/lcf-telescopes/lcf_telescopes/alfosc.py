"""Nordic Optical Telescope, ALFOSC: multi-extension files, whose gain is in the image's header.

Three wheels hold filters, "Open" where they hold none. A grism in the beam makes a spectrum of the frame.

Sources
-------
NOT, "New FITS keywords in the primary header", http://www.not.iac.es/instruments/FITS-header/mef/new_keywords.html:
DATE-OBS is the start and DATE-AVG the midpoint of the actual exposure, for ALFOSC too.
PypeIt, spectrographs/not_alfosc.py, https://github.com/pypeit/PypeIt: INSTRUME ALFOSC_FASU; GAIN (e-/ADU) and RDNOISE
(e-) in the image's header; ALGRNM names the grism. The overscan is no reference for the bias there; NOT itself shows
how far it follows it: http://www.not.iac.es/instruments/detectors/CCD14/features.html
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from lcf_telescopes import cards
from lcframework.hookspecs import hookimpl
from lcframework.types import HeaderInfo, TimeReference, UnusableInput

if TYPE_CHECKING:
    from astropy.io import fits

_WHEELS = ("ALFLTNM", "FAFLTNM", "FBFLTNM")


@attrs.frozen
class Alfosc:
    """Images of ALFOSC; the time is the midpoint that the telescope wrote."""

    results_version: ClassVar[int] = 1

    gain: float = cards.from_header_or_option()  # e-/ADU; 0: from the header

    def parse(self, header: fits.Header, path: Path) -> HeaderInfo | None:
        """Return what the header says, or None where another instrument wrote it.

        Raises
        ------
        UnusableInput
            Also for spectra.
        """
        if not cards.text(header, "INSTRUME").startswith("ALFOSC"):
            return None
        grism = cards.text(header, "ALGRNM")
        if grism and not _is_open(grism):
            raise UnusableInput(f"ALGRNM = {grism}: a spectrum, no image")
        middle = bool(cards.text(header, "DATE-AVG"))
        return HeaderInfo(
            exptime=cards.exposure_time(header),
            gain=self.gain or cards.number(header, "GAIN"),
            mjd=cards.mjd_utc(header, "DATE-AVG" if middle else "DATE-OBS"),
            time_reference=TimeReference.MID if middle else TimeReference.START,
            time_source="DATE-AVG" if middle else "DATE-OBS",
            band=self.filter_of(header),
            instrument="ALFOSC",
            site="La Palma",
            read_noise=cards.number(header, "RDNOISE"),
        )

    def filter_of(self, header: fits.Header) -> str:
        """Return the filters in the beam: R_Bes of "R_Bes 650_130"; several are joined by "+"."""
        names = [name for name in (cards.text(header, wheel) for wheel in _WHEELS) if name and not _is_open(name)]
        return "+".join(name.split()[0].replace("'", "") for name in names) or "open"


def _is_open(name: str) -> bool:
    return "open" in name.lower()


@hookimpl
def lcf_header_parsers() -> dict[str, type]:
    """Offer the parser under the name that [header] plugin picks."""
    return {"alfosc": Alfosc}
