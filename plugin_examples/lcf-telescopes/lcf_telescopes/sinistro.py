"""Las Cumbres Observatory, Sinistro cameras of the 1 m telescopes: files as BANZAI reduced them, and raw ones.

BANZAI multiplies pixels by the gain, and the keywords with them: a reduced frame is in electrons, with GAIN = 1. Raw
frames are in ADU and have four extensions, one an amplifier: use reduced ones, with [frames] hdu_data = 1 (SCI).

Sources
-------
LCO, "FITS Headers", https://lco.global/documentation/data/fits-headers/: the keywords; those that begin with L1 are
written by the reduction, and raw files have none.
LCO, BANZAI, docs/overview.rst and banzai/data.py, https://github.com/LCOGT/banzai: all reduced pixels are in electrons;
GAIN is divided, SATURATE and MAXLIN are multiplied by what pixels are multiplied by. DATE-OBS is the start (UTC). Its
cameras fa01, fa02 and so on are Sinistros.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from lcf_telescopes import cards
from lcframework.hookspecs import hookimpl
from lcframework.types import DataUnit, HeaderInfo, UnusableInput

if TYPE_CHECKING:
    from astropy.io import fits

_REDUCED = (11.0, 91.0)  # RLEVEL of what BANZAI reduced: the same night, and with all calibrations; raw: 0


@attrs.frozen
class Sinistro:
    """Frames of a Sinistro; each camera is an instrument of its own."""

    results_version: ClassVar[int] = 1

    def parse(self, header: fits.Header, path: Path) -> HeaderInfo | None:
        """Return what the header says, or None where another telescope wrote it."""
        camera, telescope = cards.text(header, "INSTRUME"), cards.text(header, "TELESCOP")
        if not (camera.startswith("fa") and telescope.startswith("1m0")):
            return None
        gain = cards.number(header, "GAIN")
        if math.isnan(gain):
            raise UnusableInput(
                f"GAIN = {cards.text(header, 'GAIN') or 'missing'}: name the image's HDU in [frames] hdu_data "
                "(1 of a reduced file), whose header has it"
            )
        reduced = cards.number(header, "RLEVEL") in _REDUCED and gain == 1.0
        return HeaderInfo(
            exptime=cards.exposure_time(header),
            gain=gain,
            mjd=cards.mjd_utc(header, "DATE-OBS"),
            time_source="DATE-OBS",
            band=cards.text(header, "FILTER"),
            instrument=f"{telescope}-{camera}",
            site=cards.text(header, "SITE") or cards.text(header, "SITEID"),
            saturation=_least(cards.number(header, "SATURATE"), cards.number(header, "MAXLIN")),
            read_noise=cards.number(header, "RDNOISE"),
            data_unit=DataUnit.ELECTRON if reduced else DataUnit.ADU,
        )


def _least(*levels: float) -> float:
    """Return where the response stops being linear: the least of the levels that the header has."""
    return min((level for level in levels if not math.isnan(level)), default=math.inf)


@hookimpl
def lcf_header_parsers() -> dict[str, type]:
    """Offer the parser under the name that [header] plugin picks."""
    return {"sinistro": Sinistro}
