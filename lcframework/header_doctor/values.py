"""The values that files have for each quantity, and what follows where one is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from lcframework.header_doctor.reading import FileReading
from lcframework.types import DataUnit, HeaderInfo

#: What follows where a quantity is missing, and what gives it.
_MISSING = {
    "saturation": "saturated stars can't be told by their level: set [stamps] saturation",
    "read_noise": "the noise rests on the measured sky alone: set read_noise in [header.{parser}], if it has one",
    "band": "[calibration] bands can't tell filters apart; where frames have several, all are taken as one",
    "instrument": "frames of different cameras would be taken as one: set instrument in [header.{parser}]",
}


def values_of(files: Sequence[FileReading]) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Return the values of each quantity with how many files have them, and what is missing with its consequence."""
    values: dict[str, Counter[str]] = {}
    missing: dict[str, str] = {}
    for f in files:
        if f.info is None:
            continue
        i = f.info
        said = {"parser": f.parser, "shape": f"{f.shape[1]} x {f.shape[0]}", "band": i.band,
                "exptime": f"{i.exptime:.6g} s", "gain": f"{i.gain:.6g} e-/{_unit(i)}", "unit": i.data_unit.value,
                "read_noise": f"{i.read_noise:.4g} e-" if np.isfinite(i.read_noise) else "",
                "saturation": f"{i.saturation:.6g}" if np.isfinite(i.saturation) else "",
                "time_source": i.time_source, "time_reference": i.time_reference.value, "site": i.site,
                "instrument": i.instrument}  # fmt: skip
        for quantity, value in said.items():
            values.setdefault(quantity, Counter())[value or "?"] += 1
            if not value and quantity in _MISSING:
                missing[quantity] = _MISSING[quantity].format(parser=f.parser)
    values.pop("instrument", None)
    return {q: dict(c.most_common()) for q, c in values.items()}, missing


def _unit(info: HeaderInfo) -> str:
    return "ADU" if info.data_unit in (DataUnit.ADU, DataUnit.ADU_PER_SECOND) else "e-"
