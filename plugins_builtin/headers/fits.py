"""The generic header parser: keywords of the FITS standard and of common acquisition programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import one_of, positive_or_zero
from lcframework.types import DataUnit, Doubt, HeaderInfo, TimeReference, UnusableInput
from plugins_builtin.shared.combined_exposures import combined_gain_doubts, combined_time_doubts
from plugins_builtin.shared.exposure_times import EXPTIME, ExposureTime, exposure_doubts, exposure_time
from plugins_builtin.shared.filter_names import filter_name
from plugins_builtin.shared.gain_cards import judged_gain
from plugins_builtin.shared.header_clocks import settled_time
from plugins_builtin.shared.header_times import HeaderTime, header_time
from plugins_builtin.shared.header_values import as_number, comment_of, first_text, says_nothing, text_of, value_of
from plugins_builtin.shared.time_places import place_doubts
from plugins_builtin.shared.time_scales import SCALES, time_scale

if TYPE_CHECKING:
    from astropy.io import fits

# Cameras that write both mean e-/ADU by EGAIN and a setting of their amplifier by GAIN.
GAIN = ("EGAIN", "CVF", "GAIN", "CCDGAIN", "GAINEFF", "ESO DET OUT1 CONAD")
SATURATION = ("SATURATE", "SATLEVEL", "MAXLIN", "SATURATA")
READ_NOISE = ("RDNOISE", "READNOIS", "READNOISE", "READNOI", "ENOISE", "RON", "ESO DET OUT1 RON")
SITE = ("OBSERVAT", "SITENAME", "OBSERVATORY")

_UNITS = {
    "adu": DataUnit.ADU,
    "count": DataUnit.ADU,
    "ct": DataUnit.ADU,
    "cnt": DataUnit.ADU,
    "dn": DataUnit.ADU,
    "electron": DataUnit.ELECTRON,
    "e": DataUnit.ELECTRON,
    "photon": DataUnit.ELECTRON,
    "photoelectron": DataUnit.ELECTRON,
}
_PER_SECOND = {DataUnit.ADU: DataUnit.ADU_PER_SECOND, DataUnit.ELECTRON: DataUnit.ELECTRON_PER_SECOND}


#: Electrons per count, beside a gain's number.
_WITH_UNIT = re.compile(r"\s*(?:e|electrons?)-?\s*/\s*(?:adu|dn|counts?)\s*$", re.IGNORECASE)
_read = "to read it off the header"
_number_or_read = positive_or_zero(_read)


@attrs.frozen
class FitsHeader:
    """Reads headers by their standard keywords; every option replaces what the header says, or where it is read."""

    results_version: ClassVar[int] = 5

    exptime: float = attrs.field(default=0.0, validator=_number_or_read)  # s; 0: from the header
    exptime_keyword: str = ""
    gain: float = attrs.field(default=0.0, validator=_number_or_read)  # e-/ADU; 0: from the header
    gain_keyword: str = ""
    time_keyword: str = ""
    time_reference: str = attrs.field(default="", validator=one_of(*TimeReference, empty=_read))  # what that time is
    time_scale: str = attrs.field(default="", validator=one_of(*SCALES, empty=_read))  # "": TIMESYS, else UTC
    saturation: float = attrs.field(default=0.0, validator=_number_or_read)  # unit of the data; 0: from the header
    read_noise: float = attrs.field(default=0.0, validator=_number_or_read)  # e-; 0: from the header
    band: str = ""
    band_keyword: str = ""
    instrument: str = ""
    data_unit: str = attrs.field(default="", validator=one_of(*DataUnit, empty=_read))  # "": BUNIT, else ADU

    def parse(self, header: fits.Header, path: Path) -> HeaderInfo:
        """Return what the merged header says.

        Raises
        ------
        UnusableInput
            Where exposure time, gain or time is missing or makes no sense, naming the keywords and the ways out; and
            where the numbers of the pixels are not proportional to light.
        """
        _refuse_compressed(header)
        unit = self._data_unit(header)
        exposure = self._exposure(header)
        gain, of_gain = self._gain(header, unit)
        time = self._time(header, exposure.seconds)
        # What the user says of a time holds.
        combined = () if self.exptime or self.time_keyword else combined_time_doubts(header, exposure, time)
        band, of_band = self._band(header)
        return HeaderInfo(
            exptime=exposure.seconds,
            gain=gain,
            mjd=time.mjd,
            time_reference=time.reference,
            time_source=time.keyword,
            band=band,
            instrument=self.instrument or instrument_name(header),
            site=first_text(header, SITE),
            saturation=self.saturation or _saturation(header, unit, gain),
            read_noise=self.read_noise or _read_noise(header, gain),
            data_unit=unit,
            doubts=(*exposure.doubts, *of_gain, *time.doubts, *combined, *of_band),
        )

    def filter_of(self, header: fits.Header) -> str:
        """Return the filter that a header names, by which flats are matched; the option `band` where it names none."""
        own = text_of(header, self.band_keyword) if self.band_keyword else filter_name(header)[0]
        return own or self.band

    def _exposure(self, header: fits.Header) -> ExposureTime:
        if self.exptime:
            return ExposureTime(self.exptime, "")
        keywords = (self.exptime_keyword,) if self.exptime_keyword else EXPTIME
        ways = "set exptime (seconds) or exptime_keyword in [header.fits], or use a header plugin"
        found = exposure_time(header, keywords, ways)
        if self.exptime_keyword:
            return found
        return attrs.evolve(found, doubts=exposure_doubts(header, found, self.time_scale or time_scale(header)))

    def _gain(self, header: fits.Header, unit: DataUnit) -> tuple[float, tuple[Doubt, ...]]:
        if self.gain:
            return self.gain, ()
        if unit in (DataUnit.ELECTRON, DataUnit.ELECTRON_PER_SECOND):
            return 1.0, ()
        keywords = (self.gain_keyword,) if self.gain_keyword else GAIN
        ways = "set gain (e-/ADU) or gain_keyword in [header.fits], or use a header plugin"
        if unit is DataUnit.ADU and all(says_nothing(value_of(header, k)) for k in keywords):
            return np.nan, ()  # the noise of the frames tells it
        keyword, number = _needed(header, keywords, "gain", ways, positive=False)
        gain, doubts = judged_gain(header, keyword, number)
        if np.isfinite(gain):
            return gain, (*doubts, *combined_gain_doubts(header, gain))
        if unit is not DataUnit.ADU:
            raise UnusableInput(f"{doubts[0].text}, which tells none of frames in {unit.value}; {ways}")
        return gain, doubts

    def _time(self, header: fits.Header, exptime: float) -> HeaderTime:
        time = header_time(header, self.time_keyword, self.time_scale)
        if self.time_reference:
            time = attrs.evolve(time, reference=TimeReference(self.time_reference))
        if not self.time_keyword:
            settled = settled_time(header, time, exptime)
            return attrs.evolve(settled, doubts=(*settled.doubts, *place_doubts(header)))
        if not time.local or self.time_scale:
            return time
        doubt = Doubt("local_time", f"{time.keyword} is local, as its comment says, but was taken for UTC",
                      "Set time_scale in [header.fits] if its comment is wrong, else name another keyword")  # fmt: skip
        return attrs.evolve(time, doubts=(*time.doubts, doubt))

    def _band(self, header: fits.Header) -> tuple[str, tuple[Doubt, ...]]:
        if self.band:
            return self.band, ()
        if self.band_keyword:
            return text_of(header, self.band_keyword), ()
        return filter_name(header)

    def _data_unit(self, header: fits.Header) -> DataUnit:
        if self.data_unit:
            return DataUnit(self.data_unit)
        text = text_of(header, "BUNIT")
        if not text:
            return DataUnit.ADU
        plain = re.sub(r"[\s/]*(pix(el)?s?)\b", "", text.lower()).replace("-", "").replace(" ", "")
        plain = plain.replace("cps", "count/s")
        base, _, rest = re.sub(r"\.?(s|sec|second)\^?\(?1\)?$", "/s", plain).partition("/")
        unit = _UNITS.get(base) or _UNITS.get(base.removesuffix("s"))
        if unit is None or rest not in ("", "s", "sec", "second"):
            allowed = ", ".join(u.value for u in DataUnit)
            raise UnusableInput(
                f"the header gives the pixels' unit as BUNIT = {text!r}, which can't be turned into electrons; "
                f"set data_unit in [header.fits] to one of {allowed} if one of these is meant"
            )
        return _PER_SECOND[unit] if rest else unit


def instrument_name(header: fits.Header) -> str:
    """Return TELESCOP and INSTRUME as one name that TOML and file names take as it is."""
    telescope, instrument = (text_of(header, k) for k in ("TELESCOP", "INSTRUME"))
    if instrument.lower().startswith(telescope.lower()) or telescope.lower() == instrument.lower():
        telescope = ""
    joined = f"{telescope}-{instrument}" if telescope and instrument else telescope or instrument
    return re.sub(r"[^A-Za-z0-9_-]+", "-", joined).strip("-")


def _refuse_compressed(header: fits.Header) -> None:
    """Refuse pixels that hold inverse hyperbolic sines of light, of which the softening and the offset are cards."""
    cards = ("BSOFTEN", "BOFFSET")
    if all(as_number(value_of(header, keyword)) is not None for keyword in cards):
        said = ", ".join(f"{keyword} = {text_of(header, keyword)}" for keyword in cards)
        raise UnusableInput(
            f"the pixels hold inverse hyperbolic sines of counts, as {said} say, which are not proportional to light: "
            "write the files with counts, as the survey that they come from describes"
        )


def _needed(
    header: fits.Header, keywords: tuple[str, ...], what: str, ways: str, positive: bool = True
) -> tuple[str, float]:
    """Return the first of the keywords that is present, and its value: a number, and a positive one where it must be.

    One with a value that makes no sense is an error, and the next is not tried: a camera that writes several means
    different things by them.
    """
    for keyword in keywords:
        value = value_of(header, keyword)
        if says_nothing(value):
            continue
        number = as_number(_WITH_UNIT.sub("", str(value)))
        if number is not None and (number > 0 or not positive):
            return keyword, number
        raise UnusableInput(f"the header's {what} makes no sense: {keyword} = {value!r}; {ways}")
    raise UnusableInput(f"no {what} in the header: looked for {', '.join(keywords)}; {ways}")


def _optional(header: fits.Header, keywords: tuple[str, ...]) -> tuple[str, float] | None:
    """Return the first of the keywords that holds a positive number, and that."""
    for keyword in keywords:
        number = as_number(value_of(header, keyword))
        if number is not None and number > 0:
            return keyword, number
    return None


def _saturation(header: fits.Header, unit: DataUnit, gain: float) -> float:
    """Return the level of saturation in the unit of the data; inf where it is not known."""
    found = _optional(header, SATURATION)
    if found is None:
        return np.inf
    keyword, level = found
    if unit is DataUnit.ADU and _unit_of(header, keyword) is DataUnit.ELECTRON:
        return level / gain if np.isfinite(gain) else np.inf
    return level


def _read_noise(header: fits.Header, gain: float) -> float:
    """Return the read noise in e-; nan where it is not known."""
    found = _optional(header, READ_NOISE)
    if found is None:
        return np.nan
    keyword, noise = found
    return noise * gain if _unit_of(header, keyword) is DataUnit.ADU else noise


def _unit_of(header: fits.Header, keyword: str) -> DataUnit | None:
    """Return the unit that a card's comment names in brackets, and nothing beside it; None for others."""
    named = re.match(r"[\[(]\s*([a-z]+)-?\s*[\])]", comment_of(header, keyword), re.IGNORECASE)
    if named is None:
        return None
    name = named[1].lower()
    return _UNITS.get(name) or _UNITS.get(name.removesuffix("s"))


@hookimpl
def lcf_header_parsers() -> dict[str, type]:
    """Offer the header parser ``fits``."""
    return {"fits": FitsHeader}
