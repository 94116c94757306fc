"""Values for pixels that must not be used, where a library can't be told to leave them out."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float

from lcframework.types import Bools, Floats

#: As many pixels tell a typical value.
_SAMPLE = 1e5


def filled(image: Float[Floats, "ny nx"], bad: Bool[Bools, "ny nx"]) -> Float[Floats, "ny nx"]:
    """Return an image with a typical value where it is bad."""
    if not bad.any():
        return image
    step = max(1, round(math.sqrt(image.size / _SAMPLE)))
    thin = image[::step, ::step][~bad[::step, ::step]]
    return np.where(bad, np.median(thin if len(thin) else image[~bad]), image)
