"""Blanco 4 m at Cerro Tololo, DECam: raw files and those of the Community Pipeline.

Two amplifiers, A and B, read the halves of each CCD; the keywords of both stand in the CCD's header.

Sources
-------
LSST, astro_metadata_translator, translators/decam.py and its test headers,
https://github.com/lsst/astro_metadata_translator: DATE-OBS and MJD-OBS are the start, with MJD-END beside them; EXPTIME
is in seconds; FILTER begins with the band ("VR DECam c0007 6300.0 2600.0"). OBS-LONG counts longitude towards the west:
write -70.81 into [telescope] longitude.
NOIRLab's "DECam Data Handbook" was not found in public. In the test header of an InstCal file the
two amplifiers agree to 1.5 %, and SATURATE is the higher level of the two.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from lcf_telescopes import cards
from lcframework.hookspecs import hookimpl
from lcframework.types import HeaderInfo, UnusableInput

if TYPE_CHECKING:
    from astropy.io import fits

_AGREE = 0.05  # by how much the gains of amplifiers may differ whose counts are on one scale


@attrs.frozen
class DECam:
    """Frames of one CCD: the gain is the mean of its amplifiers', the saturation the lower of theirs."""

    results_version: ClassVar[int] = 1

    gain: float = cards.from_header_or_option()  # e-/ADU, of the part of the CCD that is used; 0: from the header

    def parse(self, header: fits.Header, path: Path) -> HeaderInfo | None:
        """Return what the header says, or None where another instrument wrote it.

        Raises
        ------
        UnusableInput
            Also where the CCD's halves have different gains: a constant star would change from half to half.
        """
        if cards.text(header, "INSTRUME").lower() != "decam":
            return None
        levels = [cards.number(header, k) for k in ("SATURATA", "SATURATB")]
        noise = [cards.number(header, k) for k in ("RDNOISEA", "RDNOISEB")]
        return HeaderInfo(
            exptime=cards.exposure_time(header),
            gain=self.gain or _common_gain(header),
            mjd=cards.mjd_utc(header, "DATE-OBS"),
            time_source="DATE-OBS",
            band=self.filter_of(header),
            instrument="DECam",
            site="Cerro Tololo",
            saturation=min((level for level in levels if not math.isnan(level)), default=math.inf),
            read_noise=math.sqrt(0.5 * (noise[0] ** 2 + noise[1] ** 2)),
        )

    def filter_of(self, header: fits.Header) -> str:
        """Return the band, the first word of the filter's name."""
        return (cards.text(header, "FILTER").split() or [""])[0]


def _common_gain(header: fits.Header) -> float:
    """Return the mean gain of a CCD's amplifiers, which must agree."""
    a, b = cards.number(header, "GAINA"), cards.number(header, "GAINB")
    if math.isnan(a + b):
        raise UnusableInput("no GAINA and GAINB: name the CCD's HDU in [frames] hdu_data, whose header has them")
    if abs(a - b) > _AGREE * max(a, b):
        raise UnusableInput(
            f"GAINA = {a:g} and GAINB = {b:g} e-/ADU: the CCD's halves are not on one scale. Use the Community "
            "Pipeline's InstCal files, or trim one half away ([frames] trim_section) and set gain in [header.decam]"
        )
    return 0.5 * (a + b)


@hookimpl
def lcf_header_parsers() -> dict[str, type]:
    """Offer the parser under the name that [header] plugin picks."""
    return {"decam": DECam}
