"""Palomar 48 inch, Zwicky Transient Facility: science images of the public archive, one quadrant of a CCD each.

Sources
-------
ZTF, "CCD Format and Header Specifications" (ZTFOS-SW-00165), https://docslib.org/doc/5615510: the keywords.
ZTF, alert schema 3.2, field jd: the observation's date, which the headers have as OBSJD and OBSMJD, is the start of the
exposure. It is rounded, by up to a second as users found; SHUTOPEN has milliseconds.
Masci et al. 2019, PASP 131, 018003: science images are in DN, freed of bias and flat.
That GAIN is in e-/DN, READNOI in e- and SATURATE in DN was found spelled out nowhere; the frames' noise would
show it if GAIN were the inverse, and a run says so.
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
class Ztf:
    """Science images of ZTF: the time is when the shutter opened, and not the rounded OBSMJD."""

    results_version: ClassVar[int] = 1

    def parse(self, header: fits.Header, path: Path) -> HeaderInfo | None:
        """Return what the header says, or None where another telescope wrote it."""
        if not cards.text(header, "INSTRUME").upper().startswith("ZTF"):
            return None
        start = "SHUTOPEN" if cards.text(header, "SHUTOPEN") else "DATE-OBS"
        saturation = cards.number(header, "SATURATE")
        return HeaderInfo(
            exptime=cards.exposure_time(header),
            gain=cards.number(header, "GAIN"),
            mjd=cards.mjd_utc(header, start),
            time_source=start,
            band=cards.text(header, "FILTER").replace(" ", "_"),
            instrument="ZTF",
            site="Palomar",
            saturation=math.inf if math.isnan(saturation) else saturation,
            read_noise=cards.number(header, "READNOI"),
        )


@hookimpl
def lcf_header_parsers() -> dict[str, type]:
    """Offer the parser under the name that [header] plugin picks."""
    return {"ztf": Ztf}
