"""Up to which seeing frames make epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import Decision, Evidence
from plugins_builtin.engine.robust import scatter_about_zero

#: Seeing varies by factors: a frame is beyond the others where its logarithm is so many robust deviations off.
_DEVIATIONS = 5.0
#: ... and at least this many times the median: of alike frames the deviation is next to nothing.
_AT_LEAST = 1.5


@attrs.frozen
class SeeingLimit:
    """The seeing beyond which a frame makes no epoch: so frames blurred by focus, wind or trailing are left out."""

    results_version: ClassVar[int] = 1
    settings: ClassVar[tuple[str, ...]] = ("roi_cutouts.frames",)
    before: ClassVar[str] = "prepare_calibrated_cutouts"
    frames: ClassVar[int] = 40
    shared: ClassVar[bool] = False

    def decide(self, evidence: Evidence) -> Sequence[Decision]:
        """Return the limit in arcsec."""
        seeing = np.array([f.values["seeing_arcseconds"] or np.nan for f in evidence.frames], float)
        seeing = seeing[np.isfinite(seeing) & (seeing > 0)]
        if len(seeing) == 0:
            return ()
        median = float(np.median(seeing))
        spread = scatter_about_zero(np.log(seeing / median))
        factor = max(np.exp(_DEVIATIONS * spread), _AT_LEAST)
        value = float(f"{median * factor:.3g}")
        why = f"the median seeing is {median:.3g} arcsec, its variation {np.expm1(spread):.0%}: {factor:.2f} times"
        return (Decision("roi_cutouts.frames", {"seeing_arcseconds": [0.0, value]}, why, len(seeing)),)

    def differ(self, setting: str, old: Any, new: Any) -> bool:
        """Return whether the limit would cut, or spare, what the earlier one does not: by a factor of 1.5."""
        ratio = new["seeing_arcseconds"][1] / old["seeing_arcseconds"][1] if old else np.inf
        return not 1 / 1.5 < ratio < 1.5


@hookimpl
def lcf_setting_rules() -> dict[str, type]:
    """Offer the rule ``seeing-limit``."""
    return {"seeing-limit": SeeingLimit}
