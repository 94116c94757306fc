"""Reads the headers of frames that the MicroObservatory telescopes took."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from lcframework.hookspecs import hookimpl
from lcframework.options import above
from lcframework.types import HeaderInfo, TimeReference, UnusableInput

if TYPE_CHECKING:
    from astropy.io import fits


@attrs.frozen
class MicroObservatory:
    """Exposure time, start and filter from the header; what the header does not say from the options."""

    results_version: ClassVar[int] = 1

    gain: float = attrs.field(
        default=39.0, validator=above(0.0, finite=True)
    )  # e-/ADU, from the noise of Cecilia's frames
    read_noise: float = attrs.field(default=0.6, validator=above(0.0, finite=True))  # ADU
    saturation: float = attrs.field(
        default=4000.0, validator=above(0.0, finite=True)
    )  # ADU: clipped at 4095, linear up to here

    def parse(self, header: fits.Header, path: Path) -> HeaderInfo | None:
        """Return what the header says, or None where another telescope wrote it.

        Raises
        ------
        UnusableInput
            Where the frame is one of MicroObservatory's but lacks a usable exposure time or start.
        """
        if not str(header.get("CREATOR", "")).startswith("MicroObservatory"):
            return None
        return HeaderInfo(
            exptime=_exptime(header),
            gain=self.gain,
            mjd=_start(header),
            time_reference=TimeReference.START,
            time_source="UT-OBS",
            band=str(header.get("FILTER", "")).strip().lower(),
            instrument=f"MicroObservatory-{str(header.get('TELESCOP', 'unknown')).strip()}",
            site=str(header.get("OBSERVAT", "")).strip(),
            saturation=self.saturation,
            read_noise=self.read_noise * self.gain,
        )


def _exptime(header: fits.Header) -> float:
    try:
        exptime = float(header["EXPTIME"])
    except (KeyError, TypeError, ValueError):
        raise UnusableInput(f"EXPTIME = {header.get('EXPTIME')!r} is no exposure time") from None
    if not exptime > 0:
        raise UnusableInput(f"EXPTIME = {exptime:g} s: a frame without exposure holds no light")
    return exptime


def _start(header: fits.Header) -> float:
    """MJD (UTC) of the start, from the only keyword that has it exactly.

    DATE-OBS is local time and MJD-OBS is rounded to 86 s. UT-OBS ends in "-0000", an offset that means UTC.
    """
    from astropy.time import Time

    text = str(header.get("UT-OBS", "")).strip()
    try:
        return float(Time(text.removesuffix("-0000").removesuffix("Z"), format="isot", scale="utc").mjd)
    except ValueError:
        raise UnusableInput(f"UT-OBS = {text!r} is no date and time such as 2017-12-20T01:33:43.317-0000") from None


@hookimpl
def lcf_header_parsers() -> dict[str, type]:
    """Name the parser: it takes part in ``[header] plugin = "auto"``, and its options are [header.microobservatory]."""
    return {"microobservatory": MicroObservatory}
