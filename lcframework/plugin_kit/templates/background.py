"""A model of the sky for lcframework."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import above, whole_number
from lcframework.types import Bools, Floats, UnusableInput


@attrs.frozen
class PluginClass:
    """The plane that fits the sky best, sources clipped away."""

    results_version: ClassVar[int] = 1  # raise it when answers change

    clip: float = attrs.field(default=2.5, validator=above(1.0))  # standard deviations beyond which a pixel is a source
    rounds: int = attrs.field(default=8, validator=whole_number(1, 100))  # of fitting and clipping

    def estimate(self, image: Floats, mask: Bools) -> tuple[Floats, float]:
        """Return the sky (ny, nx), e-/s, and the rms of one of its pixels."""
        use = ~mask & np.isfinite(image)
        # CHECK: replace the plane by your model. It must not change `image`, and must cope with a frame without pixels.
        if use.sum() < 3:
            raise UnusableInput("too few pixels are left to measure the sky")
        y, x = np.mgrid[: image.shape[0], : image.shape[1]]
        for _ in range(self.rounds):
            terms = np.stack([np.ones(use.sum()), x[use], y[use]], axis=1)
            level, along_x, along_y = np.linalg.lstsq(terms, image[use].astype(float), rcond=None)[0]
            sky = level + along_x * x + along_y * y
            off = np.where(mask, 0.0, image - sky)
            rms = 1.4826 * float(np.median(np.abs(off[use])))
            use = ~mask & (np.abs(off) < self.clip * rms)
            if use.sum() < 3:
                raise UnusableInput("no part of the frame is sky")
        return sky, rms


@hookimpl
def lcf_background_estimators() -> dict[str, type]:
    """Offer it as ``[background] plugin = "plugin_name"``."""
    return {"plugin_name": PluginClass}
