"""The times at which the position of a target is asked for, and from where it was seen."""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.types.arrays import Floats


@attrs.frozen(eq=False)
class Moments:
    """Times of one telescope."""

    mjd: Floats  # (n,) UTC
    latitude: float = np.nan  # degrees; nan where the project file does not give the telescope's place
    longitude: float = np.nan  # degrees, east positive
    elevation: float = np.nan  # metres

    def __len__(self) -> int:
        """Return the number of times."""
        return len(self.mjd)
