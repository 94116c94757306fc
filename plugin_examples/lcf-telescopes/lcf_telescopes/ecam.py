"""Euler 1.2 m at La Silla, EulerCam (ECAM): raw files, whose keywords are HIERARCH OGE.

No documentation of these headers by the observatory was found in public. The keywords are those that programs of the
telescope's users read: DATE-OBS, EXPTIME and FILTER as named below, and OGE DET OUT RNAME, the port of the read-out.
None of them is the gain: it is measured in the frames' noise, or given.

Sources
-------
EPFL, COSMOGRAIL, "Euler telescope", https://www.epfl.ch/labs/lastro/scientific-activities/cosmograil/euler/: FILTER and
EXPTIME; filters RG, VG, IC; read out by one amplifier ("UL") or by all four ("ALL").
COSMOULINE, module headerstuff, https://github.com/COSMOGRAIL/COSMOULINE: DATE-OBS is the start of the exposure; 2.7
e-/ADU and 5.0 e- are rough means for one quadrant; longitude -70:43:48, latitude -29:15:24, 2347 m. Of Euler's camera
before this one it says that MJD-OBS was the middle: so MJD-OBS is not used.

Files of the camera's newer software, whose keywords are HIERARCH ESO, are left to other parsers.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from lcf_telescopes import cards
from lcframework.hookspecs import hookimpl
from lcframework.options import above, positive_or_zero
from lcframework.types import HeaderInfo, UnusableInput

if TYPE_CHECKING:
    from astropy.io import fits

_PORT = "OGE DET OUT RNAME"


@attrs.frozen
class EulerCam:
    """Frames of EulerCam that one amplifier read."""

    results_version: ClassVar[int] = 1

    gain: float = attrs.field(default=0.0, validator=positive_or_zero("to measure it"))  # e-/ADU; 0: by frames' noise
    read_noise: float = attrs.field(default=5.0, validator=above(0.0, finite=True))  # e-, about

    def parse(self, header: fits.Header, path: Path) -> HeaderInfo | None:
        """Return what the header says, or None where another instrument wrote it.

        Raises
        ------
        UnusableInput
            Also for frames that all four amplifiers read: they have four gains.
        """
        if not cards.text(header, _PORT):
            return None
        if cards.text(header, _PORT) == "ALL":
            raise UnusableInput(
                f"{_PORT} = ALL: four amplifiers read this frame, each with a gain of its own; observe with one (UL), "
                "or bring the quarters to one gain, and read the result with [header] plugin = 'fits'"
            )
        return HeaderInfo(
            exptime=cards.exposure_time(header),
            gain=self.gain or math.nan,
            mjd=cards.mjd_utc(header, "DATE-OBS"),
            time_source="DATE-OBS",
            band=cards.text(header, "FILTER"),
            instrument="EulerCam",
            site="La Silla",
            read_noise=self.read_noise,
        )


@hookimpl
def lcf_header_parsers() -> dict[str, type]:
    """Offer the parser under the name that [header] plugin picks."""
    return {"ecam": EulerCam}
