"""A cosmic-ray detector for lcframework."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import positive
from lcframework.types import Bools, Floats


@attrs.frozen
class PluginClass:
    """Pixels that stand out of their surroundings by more than noise and PSF allow."""

    results_version: ClassVar[int] = 1  # raise it when answers change

    threshold: float = attrs.field(default=8.0, validator=positive)  # standard deviations
    contrast: float = attrs.field(default=0.3, validator=positive)  # part of the smooth light that may be structure

    def mask(self, stamps: Floats, noise: Floats) -> Bools:
        """Return (n, ny, nx) True where a cosmic ray fell; all stamps of one frame come together."""
        from scipy.ndimage import median_filter  # heavy libraries are imported where they are needed

        # CHECK: replace the median by your method. Cores of stars must stay: they are sharp too.
        smooth = median_filter(stamps, (1, 5, 5))
        return np.asarray(stamps - smooth > self.threshold * np.hypot(noise, self.contrast * np.abs(smooth)))


@hookimpl
def lcf_cosmic_maskers() -> dict[str, type]:
    """Offer it as ``[cosmics] plugin = "plugin_name"``."""
    return {"plugin_name": PluginClass}
