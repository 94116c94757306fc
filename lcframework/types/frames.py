"""What is read from the header of a frame."""

from __future__ import annotations

import enum
from typing import Any

import attrs
import numpy as np

from lcframework.types.doubts import Doubt


class TimeReference(enum.StrEnum):
    """The moment of the exposure that the time in a header gives."""

    START = "start"
    MID = "mid"
    END = "end"


class DataUnit(enum.StrEnum):
    """The unit of the pixel values of a raw frame."""

    ADU = "adu"
    ELECTRON = "electron"
    ADU_PER_SECOND = "adu/s"
    ELECTRON_PER_SECOND = "electron/s"


def _positive(instance: Any, attribute: Any, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{attribute.name} must be a positive number, got {value!r}")


def _positive_or_unknown(instance: Any, attribute: Any, value: float) -> None:
    if not np.isnan(value):
        _positive(instance, attribute, value)


def _finite(instance: Any, attribute: Any, value: float) -> None:
    if not np.isfinite(value):
        raise ValueError(f"{attribute.name} must be a finite number, got {value!r}")


@attrs.frozen
class HeaderInfo:
    """What a header parser reads from the header of one frame."""

    exptime: float = attrs.field(converter=float, validator=_positive)  # s
    gain: float = attrs.field(converter=float, validator=_positive_or_unknown)  # e-/unit of the data; nan: unknown
    mjd: float = attrs.field(converter=float, validator=_finite)  # UTC, d
    time_reference: TimeReference = attrs.field(default=TimeReference.START, converter=TimeReference)
    time_source: str = ""  # the header keyword that the time came from
    band: str = ""
    instrument: str = ""
    site: str = ""
    saturation: float = attrs.field(default=np.inf, converter=float)  # in the unit of the data; inf: unknown
    read_noise: float = attrs.field(default=np.nan, converter=float)  # e-; nan: unknown
    data_unit: DataUnit = attrs.field(default=DataUnit.ADU, converter=DataUnit)
    flags: int = 0  # FrameFlag bits
    doubts: tuple[Doubt, ...] = ()  # about what the header says

    @property
    def mjd_start(self) -> float:
        """Start of the exposure, MJD (UTC)."""
        back = {TimeReference.START: 0.0, TimeReference.MID: 0.5, TimeReference.END: 1.0}[self.time_reference]
        return self.mjd - back * self.exptime / 86400.0

    @property
    def mjd_mid(self) -> float:
        """Middle of the exposure, MJD (UTC)."""
        return self.mjd_start + 0.5 * self.exptime / 86400.0

    @property
    def mjd_end(self) -> float:
        """End of the exposure, MJD (UTC)."""
        return self.mjd_start + self.exptime / 86400.0
