"""SAAO 1 m at Sutherland, SHOC cameras: single frames (the cameras also go to the 1.9 m, with the same headers).

The header has no gain: it follows from camera, speed and pre-amplifier. GAIN is the electron multiplication. The time
depends on the trigger: FRAME, whose comment says start, is the END of the exposure where the camera triggers itself,
and DATE-OBS is when the observer pressed the button.

Sources
-------
SAAO, "SHOC", https://topswiki.saao.ac.za/index.php/SHOC: what FRAME, DATE-OBS and GPSSTART are; the modes of 1 MHz have
16 bits, the others 14.
pySHOC, timing.py, tel_info.py and readnoise/, https://github.com/apodemus/pySHOC: GPSSTART is the start of a triggered
exposure; EXPOSURE is in seconds; the manufacturer's table of gains, read noises and saturation levels by camera
(SERNO), READTIME, OUTPTAMP and PREAMP, whose conventional modes are below; the 1.0 m is at longitude 20.81, latitude
-32.379667, 1810 m. Coppejans et al. 2013, PASP 125, 976 describe the cameras.
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

#: Serial number, MHz, pre-amplifier -> gain (e-/ADU), read noise (e-), saturation (ADU): conventional modes.
MODES = {
    (5982, 1, 1.0): (4.06, 9.30, 35428.0),
    (5982, 1, 2.4): (1.69, 7.49, 65535.0),
    (5982, 1, 4.9): (0.63, 5.84, 65535.0),
    (5982, 3, 1.0): (10.98, 15.81, 13100.0),
    (5982, 3, 2.4): (4.23, 11.59, 16383.0),
    (5982, 3, 4.9): (1.82, 10.19, 16383.0),
    (6448, 1, 1.0): (3.79, 8.22, 20888.0),
    (6448, 1, 2.5): (1.53, 6.52, 51744.0),
    (6448, 1, 5.2): (0.68, 6.03, 65535.0),
    (6448, 3, 1.0): (9.92, 13.99, 7980.0),
    (6448, 3, 2.5): (3.96, 10.85, 16383.0),
    (6448, 3, 5.2): (1.77, 9.79, 16383.0),
}


@attrs.frozen
class Shoc:
    """Single frames of SHOC 1 and 2 in their conventional modes."""

    results_version: ClassVar[int] = 1

    def parse(self, header: fits.Header, path: Path) -> HeaderInfo | None:
        """Return what the header says, or None where another camera wrote it.

        Raises
        ------
        UnusableInput
            Also for cubes, for electron multiplication, for modes of which the gain is not known, and for frames that
            GPS triggered without its time in the header.
        """
        if cards.text(header, "SERNO") not in ("5982", "6448") or not cards.text(header, "OUTPTAMP"):
            return None
        if cards.number(header, "NAXIS3") > 1:
            raise UnusableInput(
                f"a cube of {header['NAXIS3']} frames with one time: split it, and give each frame its own (FRAME or "
                "GPSSTART, plus its number times KCT)"
            )
        gain, read_noise, saturation = _mode(header)
        mjd, reference, source = _time(header)
        return HeaderInfo(
            exptime=cards.exposure_time(header, "EXPOSURE"),
            gain=gain,
            mjd=mjd,
            time_reference=reference,
            time_source=source,
            band=self.filter_of(header),
            instrument=f"SHOC-{cards.text(header, 'SERNO')}",
            site="Sutherland",
            saturation=saturation,
            read_noise=read_noise,
        )

    def filter_of(self, header: fits.Header) -> str:
        """Return the short names of the filters of both wheels: V of "V - Green"."""
        names = (cards.text(header, wheel) for wheel in ("FILTERA", "FILTERB"))
        return "+".join(n.split(" - ")[0] for n in names if n and n.lower() not in ("empty", "na")) or "open"


def _mode(header: fits.Header) -> tuple[float, float, float]:
    """Return gain, read noise and saturation."""
    amplifier = cards.text(header, "OUTPTAMP")
    if not amplifier.startswith("Con"):
        raise UnusableInput(
            f"OUTPTAMP = {amplifier}: electron multiplication adds noise of its own, which no gain can describe"
        )
    speed = round(1e-6 / cards.exposure_time(header, "READTIME"))  # MHz; READTIME is s a pixel
    mode = int(cards.text(header, "SERNO")), speed, cards.number(header, "PREAMP")
    if mode not in MODES:
        raise UnusableInput(f"SERNO, MHz and PREAMP = {mode}: no gain is known; known are {sorted(MODES)}")
    return MODES[mode]


def _time(header: fits.Header) -> tuple[float, TimeReference, str]:
    """Return the time (MJD, UTC), what of the exposure it is, and its keyword."""
    trigger = cards.text(header, "TRIGGER")
    if trigger == "Internal":
        return cards.mjd_utc(header, "FRAME"), TimeReference.END, "FRAME"
    if cards.text(header, "GPSSTART"):
        return cards.mjd_utc(header, "GPSSTART"), TimeReference.START, "GPSSTART"
    raise UnusableInput(
        f"TRIGGER = {trigger or 'missing'} without GPSSTART: the header has no time of this exposure; write the GPS "
        "receiver's time (UTC) into GPSSTART"
    )


@hookimpl
def lcf_header_parsers() -> dict[str, type]:
    """Offer the parser under the name that [header] plugin picks."""
    return {"shoc": Shoc}
