"""A choice of comparison stars for lcframework."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import CandidateStars, Ints


@attrs.frozen
class PluginClass:
    """The stars of the highest signal-to-noise, those that the catalogue calls variable last."""

    results_version: ClassVar[int] = 1  # raise it when answers change

    variable_last: bool = True  # take variable stars where nothing else is left

    def choose(self, candidates: CandidateStars, wanted: int) -> Ints:
        """Return the indices of at most `wanted` stars.

        The choice must depend on this frame alone: a new frame must not change it.
        """
        # CHECK: what makes a good comparison star of your field: brightness, distance, colour?
        last = candidates.variable if self.variable_last else np.zeros(len(candidates), bool)
        return np.lexsort((-candidates.signal_to_noise, last))[:wanted]


@hookimpl
def lcf_comparison_stars() -> dict[str, type]:
    """Offer it as ``[comparison_stars] plugin = "plugin_name"``."""
    return {"plugin_name": PluginClass}
