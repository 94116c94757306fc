"""How finely PSFs are sampled, by how wide stars are on the detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import Decision, Evidence

#: The documented value, and the one for stars that are narrower.
_USUAL, _FINE = 2, 3
#: Pixels. A PSF is a kernel of small pixels, smoothed by a Gaussian with a FWHM of two of them: with the usual value a
#: pixel of the data, which with the own width of that, 0.8, makes this. No narrower star can be described.
_NARROW = 1.3


@attrs.frozen
class PsfSampling:
    """Finer kernels for undersampled stars, which are sharper than what the usual ones can describe."""

    results_version: ClassVar[int] = 1
    settings: ClassVar[tuple[str, ...]] = ("psf.starred.subsampling_factor",)
    before: ClassVar[str] = "psf_modeling"
    frames: ClassVar[int] = 20
    shared: ClassVar[bool] = False

    def decide(self, evidence: Evidence) -> Sequence[Decision]:
        """Return the small pixels across a pixel, by the median seeing."""
        seeing = [f.values["seeing_pixels"] for f in evidence.frames if f.values["seeing_pixels"]]
        if not seeing:
            return ()
        median = float(np.median(seeing))
        value = _FINE if median < _NARROW else _USUAL
        why = (
            f"the median seeing is {median:.2f} pixels; stars below {_NARROW:g} are sharper than kernels of "
            f"{_USUAL} small pixels across a pixel can be"
        )
        return (Decision(self.settings[0], value, why, len(seeing)),)

    def differ(self, setting: str, old: Any, new: Any) -> bool:
        """Return whether new frames are undersampled where the others were not."""
        return old is None or new > old


@hookimpl
def lcf_setting_rules() -> dict[str, type]:
    """Offer the rule ``psf-sampling``."""
    return {"psf-sampling": PsfSampling}
