"""The stars that can be measured in a frame, from which its comparison stars are chosen."""

from __future__ import annotations

import attrs

from lcframework.types.arrays import Bools, Floats


@attrs.frozen(eq=False)
class CandidateStars:
    """Stars with a usable stamp in one frame, nearest the region first.

    Only what the frame and the catalogue say: a choice that depended on other frames would change with each new one.
    """

    distance: Floats  # (n,) arcsec from the region
    signal_to_noise: Floats  # (n,) of the star in this frame
    magnitude: Floats  # (n,) in the catalogue's main band
    colour: Floats  # (n,) mag, BP - RP; nan where unknown
    variable: Bools  # (n,) whether the catalogue calls the star variable

    def __len__(self) -> int:
        """Return the number of stars."""
        return len(self.distance)
