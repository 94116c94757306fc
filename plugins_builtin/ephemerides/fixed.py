"""The ephemeris ``fixed``: the place in the project file."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import Floats, Moments


@attrs.frozen
class Fixed:
    """The place that the project file gives, at all times."""

    results_version: ClassVar[int] = 1

    def positions(self, ra: float, dec: float, moments: Moments) -> tuple[Floats, Floats]:
        """Return the place for each of the times."""
        return np.full(len(moments), ra), np.full(len(moments), dec)


@hookimpl
def lcf_ephemerides() -> dict[str, type[Any]]:
    """Offer the ephemeris ``fixed``."""
    return {"fixed": Fixed}
