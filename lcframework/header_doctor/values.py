"""The values of each quantity in files, and the consequences of missing ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from lcframework.config.toolbox import GENERIC_PARSER
from lcframework.header_doctor.reading import FileReading
from lcframework.types import DataUnit, HeaderInfo

#: The consequence of a missing quantity, and what to set.
_MISSING = {
    "saturation": "saturated stars can't be recognised by their level: set [stamps] saturation",
    "read_noise": "the noise rests on the measured sky alone: set read_noise in [header.{parser}], if it has one",
    "band": "[calibration] bands can't distinguish filters; frames with different filters are treated as one band",
    "instrument": "frames of different cameras would be taken as one: set instrument in [header.{parser}]",
}


def values_of(files: Sequence[FileReading]) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Return the values of each quantity with their numbers of files, and missing quantities with consequences."""
    values: dict[str, Counter[str]] = {}
    missing: dict[str, str] = {}
    for f in files:
        i = f.known
        if i is None:
            continue
        shown = {"parser": f.parser or "none", "shape": f"{f.shape[1]} x {f.shape[0]}", "band": i.band,
                "exptime": f"{i.exptime:.6g} s",
                "gain": f"{i.gain:.6g} e-/{_unit(i)}" if np.isfinite(i.gain) else "",
                "unit": i.data_unit.value,
                "read_noise": f"{i.read_noise:.4g} e-" if np.isfinite(i.read_noise) else "",
                "saturation": f"{i.saturation:.6g}" if np.isfinite(i.saturation) else "",
                "time_source": i.time_source, "time_reference": i.time_reference.value, "site": i.site,
                "instrument": i.instrument}  # fmt: skip
        for quantity in f.unread & set(shown):
            shown[quantity] = ""
        for quantity, value in shown.items():
            values.setdefault(quantity, Counter())[value or "?"] += 1
            if not value and quantity in _MISSING:
                missing[quantity] = _MISSING[quantity].format(parser=f.parser or GENERIC_PARSER)
    values.pop("instrument", None)
    return {q: dict(c.most_common()) for q, c in values.items()}, missing


def _unit(info: HeaderInfo) -> str:
    return "ADU" if info.data_unit in (DataUnit.ADU, DataUnit.ADU_PER_SECOND) else "e-"
