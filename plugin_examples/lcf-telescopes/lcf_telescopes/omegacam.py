"""VST, OmegaCAM: raw files of ESO's archive, and single images that Astro-WISE made of them.

Raw files have one image a CCD; each image's own header holds its gain, so [frames] hdu_data says which CCD is used.

Sources
-------
ESO, "Data Interface Control Document", http://archive.eso.org/dicb/dicd/dic-1-1.d.html: DATE-OBS and MJD-OBS are the
start of the exposure, EXPTIME is in seconds.
WFAU, "OSA schema browser, MultiframeDetectorEsoKeys",
http://osa.roe.ac.uk/www/ATLASDR4/ATLASDR4_TABLE_MultiframeDetectorEsoKeysSchema.html: of these very frames, DET OUT1
CONAD is the conversion from ADU to electrons. DET OUT1 GAIN is its inverse.
ESO, "OmegaCAM User Manual", VST-MAN-OCM-23110-3110: one FITS extension a CCD, in an order that may change.
COSMOULINE, module headerstuff, https://github.com/COSMOGRAIL/COSMOULINE: Astro-WISE images have OBSTART (start), GAIN
(0 in some) and SATLEVEL (ADU). No documentation by Astro-WISE itself was found.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from lcf_telescopes import cards
from lcframework.hookspecs import hookimpl
from lcframework.types import HeaderInfo

if TYPE_CHECKING:
    from astropy.io import fits


@attrs.frozen
class OmegaCam:
    """Frames of OmegaCAM: the gain is CONAD, and never ESO's GAIN, which is in ADU per electron."""

    results_version: ClassVar[int] = 1

    gain: float = cards.from_header_or_option()  # e-/ADU; 0: from the header
    band: str = ""  # where the header names no filter

    def parse(self, header: fits.Header, path: Path) -> HeaderInfo | None:
        """Return what the header says, or None where another instrument wrote it."""
        if cards.text(header, "INSTRUME") != "OMEGACAM":
            return None
        start = "OBSTART" if cards.text(header, "OBSTART") else "DATE-OBS"
        gain = cards.number(header, "ESO DET OUT1 CONAD")
        if math.isnan(gain):
            gain = cards.number(header, "GAIN")  # of Astro-WISE; nan, which the frames' noise replaces, where it is 0
        saturation = cards.number(header, "SATLEVEL")
        return HeaderInfo(
            exptime=cards.exposure_time(header),
            gain=self.gain or gain,
            mjd=cards.mjd_utc(header, start),
            time_source=start,
            band=cards.text(header, "ESO INS FILT1 NAME") or cards.text(header, "FILTER") or self.band,
            instrument="OmegaCAM",
            site="Paranal",
            saturation=math.inf if math.isnan(saturation) else saturation,
            read_noise=cards.number(header, "ESO DET OUT1 RON"),
        )


@hookimpl
def lcf_header_parsers() -> dict[str, type]:
    """Offer the parser under the name that [header] plugin picks."""
    return {"omegacam": OmegaCam}
