"""Values for pixels that must not be used, for libraries that take no mask."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float

from lcframework.types import Bools, Floats

#: Pixels from which a typical value is taken.
_SAMPLE = 1e5


def filled(image: Float[Floats, "ny nx"], bad: Bool[Bools, "ny nx"]) -> Float[Floats, "ny nx"]:
    """Return an image with a typical value, the median of the good pixels, in its bad pixels."""
    if not bad.any():
        return image
    step = max(1, round(math.sqrt(image.size / _SAMPLE)))
    thin = image[::step, ::step][~bad[::step, ::step]]
    return np.where(bad, np.median(thin if len(thin) else image[~bad]), image)
