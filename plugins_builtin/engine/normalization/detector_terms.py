"""Terms in the position on the detector: monomials, of positions in units of half the detector.

Where the telescope's pointing drifts and the flat-field correction is poor, a star is measured by other pixels in each
frame. The remaining response, ``exp(sum_k q_k T_k(x, y))``, is the same for all frames. Where all stars drift alike, a
slope of its logarithm can't be distinguished from a change of transparency: the prior alone keeps it at 0, and it would
change no normalised flux. A sum instead of its exponential would blur that: there a steep slope can be undone by the
curvature, so that a response of no meaning fits nearly as well.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from lcframework.types import Floats


def monomials(position: Float[Floats, "*stack 2"], order: int) -> Float[Floats, "*stack terms"]:
    """Return the monomials of degree 1 to `order` of positions (x, y)."""
    x, y = position[..., 0], position[..., 1]
    terms = [x ** (total - j) * y**j for total in range(1, order + 1) for j in range(total + 1)]
    return np.stack(terms, axis=-1) if terms else np.zeros((*x.shape, 0))


def detector_positions(xy: Float[Floats, "*stack 2"], shape: tuple[int, int]) -> Float[Floats, "*stack 2"]:
    """Return pixel positions from the detector's centre in units of half its longer side; 0 where not finite."""
    centre = 0.5 * (np.array(shape[::-1], float) - 1.0)
    return np.asarray(np.nan_to_num((np.asarray(xy, float) - centre) / (0.5 * max(shape))))
