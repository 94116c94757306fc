"""A rule for a setting that frames decide, for lcframework."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import Decision, Evidence

#: CHECK: the setting, by its dotted name. No other installed rule may decide it: `lcf settings` shows those there are.
SETTING = "plate_solving.max_anisotropy"


@attrs.frozen
class PluginClass:
    """Decides a limit by how far from round the sources of frames are."""

    results_version: ClassVar[int] = 1  # raise it when decisions change
    settings: ClassVar[tuple[str, ...]] = (SETTING,)
    before: ClassVar[str] = "plate_solving"  # CHECK: the first stage that uses the setting
    frames: ClassVar[int] = 20  # at which the decision is frozen
    shared: ClassVar[bool] = True  # one decision for all instruments

    def decide(self, evidence: Evidence) -> Sequence[Decision]:
        """Return what these frames say; nothing where they say nothing."""
        # CHECK: replace this by your own reasoning. It must never look at the target's light.
        ratios = []
        for frame in evidence.frames:
            sources = frame.sources()
            ratios += list(np.asarray(sources["a"], float) / np.asarray(sources["b"], float))
        if not ratios:
            return ()
        value = float(f"{max(0.2, float(np.median(ratios)) - 1.0):.2g}")
        why = f"the median axis ratio of {len(ratios)} sources is {np.median(ratios):.2f}"
        return (Decision(SETTING, value, why, len(evidence.frames)),)

    def differ(self, setting: str, old: Any, new: Any) -> bool:
        """Return whether a new decision contradicts an earlier one by more than chance."""
        return not 1 / 1.5 < new / old < 1.5


@hookimpl
def lcf_setting_rules() -> dict[str, type]:
    """Offer the rule; it decides where the project file leaves the setting open."""
    return {"plugin_name": PluginClass}
