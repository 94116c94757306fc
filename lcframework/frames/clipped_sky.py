"""Frames whose sky was cut off at a lowest value: what a program subtracted left no number for negative pixels.

Light under a star lifts pixels above the cut, and the sky around it is lifted by the cut itself: the mean of a normal
distribution cut at its own mean is 0.4 standard deviations too high. So faint stars come out too faint, and the noise
that is seen is too small.
"""

from __future__ import annotations

import numpy as np

from lcframework.frames.squares import squares
from lcframework.types import Doubt, Floats

#: A square with this share of lowest pixels is blank.
_BLANK = 0.97
#: From this share of the sky's pixels on a frame is doubted: a cut at 1.6 standard deviations moves the sky's mean by
#: 0.02 of them.
_DOUBTED = 0.05


def lowest_value(image: Floats) -> tuple[float, float]:
    """Return a frame's lowest value, and the share of pixels that have it in the median square that is not blank.

    The share is 0 where the next value is as frequent: the numbers are coarse then, and nothing was cut off.
    """
    lowest = float(np.min(image, where=np.isfinite(image), initial=np.inf))
    shares = squares(image == lowest).mean(axis=(1, 2))
    exposed = shares < _BLANK
    share = float(np.median(shares[exposed])) if exposed.any() else 0.0
    if share == 0:
        return lowest, 0.0
    values = squares(image)[exposed]
    next_one = np.min(values, where=values > lowest, initial=np.inf)
    coarse = np.count_nonzero(values == next_one) >= np.count_nonzero(values == lowest)
    return lowest, 0.0 if coarse else share


def clipped_doubts(image: Floats) -> tuple[Doubt, ...]:
    """Return a doubt where the noise of a raw frame's sky was cut off at the lowest value."""
    lowest, share = lowest_value(image)
    if share < _DOUBTED:
        return ()
    return (Doubt(
        "clipped_sky",
        f"{share:.0%} of the sky's pixels have the lowest value, {lowest:g}: its noise was cut off there, so "
        "that faint sources come out too faint and errors too small",
        "Use the frames as they were before a sky or a bias was subtracted, or subtract it in numbers with a sign",
        value=share,
    ),)  # fmt: skip
