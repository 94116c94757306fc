"""How many stars make the PSF and the coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import Decision, Evidence

#: Stars with this signal-to-noise take part.
_LEAST = 20.0
#: The PSF gets the nearest stars with this share of the information, sum of the squared signal-to-noise, ...
_SHARE = 0.95
#: ... within these bounds: fewer leave it noisy, more cost more than they bring. As many are measured: a PSF that
#: varies over the field must rest on stars all over what is measured.
_FEWEST, _MOST = 10, 120


@attrs.frozen
class StarNumbers:
    """As many stars as weigh in the PSF, and all that have a good flux for the coefficients."""

    results_version: ClassVar[int] = 1
    settings: ClassVar[tuple[str, ...]] = ("psf.stars", "photometry.stars")
    before: ClassVar[str] = "psf_modeling"
    frames: ClassVar[int] = 20
    shared: ClassVar[bool] = False

    def decide(self, evidence: Evidence) -> Sequence[Decision]:
        """Return the numbers, by the signal-to-noise of the frames' usable stars, nearest first."""
        tables = [f.stars() for f in evidence.frames]
        found = [np.asarray(t["signal_to_noise"], float)[_in_use(t)] for t in tables if len(t)]
        found = [s for s in found if len(s)]
        if not found:
            return ()
        weigh = int(np.median([1 + np.searchsorted(np.cumsum(s**2), _SHARE * np.sum(s**2)) for s in found]))
        there = int(np.median([len(s) for s in found]))
        most = max(len(s) for s in found)
        psf = int(np.clip(weigh, _FEWEST, _MOST))
        measured = int(np.clip(most, _FEWEST, _MOST))
        text = f"a frame has {there} usable stars with a signal-to-noise of {_LEAST:g}"
        return (
            Decision(
                "psf.stars", psf,
                f"{text}; the nearest {weigh} have {_SHARE:.0%} of the information ({_FEWEST} to {_MOST} taken)",
                len(found),
            ),
            Decision("photometry.stars", max(measured, psf), f"{text}; up to {_MOST} are measured", len(found)),
        )  # fmt: skip

    def differ(self, setting: str, old: Any, new: Any) -> bool:
        """Return whether new frames have half or twice as many."""
        return old is None or not 0.5 < new / old < 2.0


def _in_use(table: Any) -> Any:
    """Return the indices of the usable stars, nearest the region first."""
    use = np.flatnonzero(np.asarray(table["usable"], bool) & (np.asarray(table["signal_to_noise"], float) >= _LEAST))
    return use[np.argsort(np.asarray(table["distance"], float)[use], kind="stable")]


@hookimpl
def lcf_setting_rules() -> dict[str, type]:
    """Offer the rule ``star-numbers``."""
    return {"star-numbers": StarNumbers}
