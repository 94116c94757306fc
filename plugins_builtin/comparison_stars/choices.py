"""The choices of comparison stars "nearest" and "worth"."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import positive
from lcframework.types import CandidateStars, Ints


@attrs.frozen
class Nearest:
    """The stars nearest the region: they share its transparency and its PSF."""

    results_version: ClassVar[int] = 1

    def choose(self, candidates: CandidateStars, wanted: int) -> Ints:
        """Return the indices of the nearest stars."""
        return np.argsort(candidates.distance, kind="stable")[:wanted]


@attrs.frozen
class Worth:
    """The stars that tell most of the frame's transparency, the nearer ones where they tell alike.

    A star of signal-to-noise s tells it with the weight ``1 / (1 / s^2 + scatter^2)``: beyond a scatter that photons
    are not to blame for, brighter stars are worth no more. Weights within a factor of two count alike. Stars that the
    catalogue calls variable come last.
    """

    results_version: ClassVar[int] = 1

    scatter: float = attrs.field(default=0.003, validator=positive)  # relative, of bright stars beyond their noise

    def choose(self, candidates: CandidateStars, wanted: int) -> Ints:
        """Return the indices of the stars that are worth most."""
        signal = np.maximum(candidates.signal_to_noise, 1e-3)
        weight = 1.0 / (signal**-2.0 + self.scatter**2)
        step = np.floor(np.log2(weight * self.scatter**2))  # 0 or less
        return np.lexsort((candidates.distance, -step, candidates.variable))[:wanted]


@hookimpl
def lcf_comparison_stars() -> dict[str, type[Any]]:
    """Offer the choices ``nearest`` and ``worth``."""
    return {"nearest": Nearest, "worth": Worth}
