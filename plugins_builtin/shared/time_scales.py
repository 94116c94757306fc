"""The time scale of a header's times, and times of it in UTC."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

from lcframework.types import UnusableInput
from plugins_builtin.shared.header_values import text_of

if TYPE_CHECKING:
    from astropy.io import fits

#: Names of time scales (TIMESYS, the FITS standard's table 30) and astropy's for them. GPS runs 19 s behind TAI.
SCALES = {
    "utc": "utc", "gmt": "utc", "ut": "utc", "ut1": "ut1", "tai": "tai", "iat": "tai", "gps": "tai",
    "tt": "tt", "tdt": "tt", "et": "tt", "tdb": "tdb", "tcb": "tcb", "tcg": "tcg",
}  # fmt: skip
_IN_WORDS = {
    "universal": "ut", "coordinated": "utc", "zulu": "utc", "z": "utc", "greenwich": "gmt", "international": "tai",
    "terrestrial": "tt",
}  # fmt: skip
_GPS_BEHIND_TAI = 19.0  # s
_CURE = 'set time_scale in [header.fits], such as "utc", if you know what the times are, or use a header plugin'


def time_scale(header: fits.Header) -> str:
    """Return the name in :data:`SCALES` of the scale that TIMESYS names, with whatever qualifies it; UTC without it.

    Raises
    ------
    UnusableInput
        Where it is no scale, or a zone.
    """
    text = text_of(header, "TIMESYS")
    if not text:
        return "utc"
    if re.match(r"(?:utc?|gmt)\s*[+-]\s*\d", text, re.IGNORECASE) or re.search(r"\blocal\b", text, re.IGNORECASE):
        raise UnusableInput(
            f"the header's times are those of a zone, as TIMESYS = {text!r} says. Name a keyword that is in UTC by "
            "time_keyword, with time_scale, in [header.fits], or convert them by a function in "
            "header_parser/parse_header.py"
        )
    words = re.findall(r"[a-z]+\d?", text.lower())
    first = words[0] if words else ""
    scale = _IN_WORDS.get(first, first)
    if "barycentric" in words[:2] and "dynamical" in words[:3]:
        scale = "tdb"
    if scale not in SCALES:
        raise UnusableInput(
            f"the header's time scale TIMESYS = {text!r} does not begin with one of {', '.join(SCALES)}; {_CURE}"
        )
    return scale


def to_utc(value: Any, form: str, scale: str) -> float | None:
    """Return the MJD in UTC of a time in one of astropy's formats; None where it is no time."""
    from astropy.time import Time, TimeDelta

    with warnings.catch_warnings():
        # Beyond the published leap seconds times are right to a second, and such years are noticed in a light curve.
        warnings.simplefilter("ignore")
        try:
            time = Time(value, format=form, scale=SCALES[scale])
            if scale == "gps":
                time = time + TimeDelta(_GPS_BEHIND_TAI, format="sec")
            return float(time.utc.mjd)
        except ValueError:
            return None
