"""Settings that frames decide: the evidence that a rule gets, and the decision that it makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from lcframework.types.arrays import Floats, Ints
from lcframework.types.discs import Discs
from lcframework.types.sky import CatalogLimits, Region

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.wcs import WCS


@attrs.frozen
class Decision:
    """The value of a setting, and why.

    Attributes
    ----------
    setting : str
        The dotted name, as in the project file: ``"stamps.star_size"``.
    value
        The value as TOML would give it; None where the evidence decides nothing, and the documented value holds.
    why : str
        One sentence with the numbers that it follows from.
    frames : int
        The number of frames that it rests on.
    alternatives : str
        What other values would have meant, where the rule knows.
    doubt : str
        What frames say against the setting as it stands, and what to do; it is shown with all doubts. Empty: nothing.
    """

    setting: str
    value: Any
    why: str
    frames: int
    alternatives: str = ""
    doubt: str = ""


#: What a detector's flat field and non-linearity leave in a gain by noise, relative...
_SYSTEMATIC = 0.05
#: ... what sums over a few pixels miss where these share their noise, and what makes another gain.
_OF_SHARED_NOISE, _ANOTHER = 0.2, 0.25


@attrs.frozen
class MeasuredGain:
    """A gain from noise in e-/unit of the data; nan, with a reason, where it can't be measured."""

    gain: float
    error: float
    levels: tuple[float, float]  # between which it was measured, units of the data
    noise: float  # rms of a pixel at the middle level, units of the data
    blocks: int
    pairs: int
    reason: str = ""
    shared: float = 1.0  # the variance of sums of pixels over that of independent ones, which `gain` takes into account

    @property
    def whole_error(self) -> float:
        """The error with what noise can't tell: flat field, non-linearity, and where pixels share it, far sums."""
        return max(self.error, (_SYSTEMATIC if self.shared == 1 else _OF_SHARED_NOISE) * self.gain)

    def excludes(self, gain: float) -> bool:
        """Return whether another gain, such as a header's, is not this one: by a quarter, and by three errors."""
        return abs(gain - self.gain) > max(_ANOTHER * self.gain, 3 * self.whole_error)


@attrs.frozen(eq=False)
class FrameEvidence:
    """One frame of a sample; what takes long to read is read where a rule asks for it."""

    values: Mapping[str, Any]  # its row of ``frames``
    image: Callable[[], tuple[Floats, Ints]]  # (ny, nx) e-/s without sky, PixelFlag bits
    sources: Callable[[], Table]  # SOURCES
    wcs: Callable[[], WCS]
    stars: Callable[[], Table]  # its reference stars: gaia_id, name, x, y, magnitude, distance, signal_to_noise, usable


def _no_gain() -> MeasuredGain:
    return MeasuredGain(np.nan, np.nan, (np.nan, np.nan), np.nan, 0, 0, "there are no raw frames")


def _no_stars(region: Region, limits: CatalogLimits) -> Table | None:
    return None


@attrs.frozen(eq=False)
class Evidence:
    """What a rule decides by.

    Attributes
    ----------
    instrument : str
        Whose frames these are; empty for settings that all instruments share.
    frames : tuple of FrameEvidence
        A bounded sample of its frames that the earlier stages have made, spread over time.
    rois : mapping
        (1 + k, 2) ra and dec, degrees, of each region of interest: of its position, then of its k point sources.
    settings : mapping
        The settings in force by section, as attrs values; decided ones among them.
    gain : callable
        Measures the gain on pairs of raw frames.
    catalogue : callable
        Asks the project's star catalogue; None where there is none.
    discs : Discs, optional
        Where the photometry measures in discs alone; how they lie.
    """

    instrument: str
    frames: tuple[FrameEvidence, ...]
    rois: Mapping[str, Floats] = attrs.field(factory=dict)
    settings: Mapping[str, Any] = attrs.field(factory=dict)
    gain: Callable[[], MeasuredGain] = _no_gain
    catalogue: Callable[[Region, CatalogLimits], Table | None] = _no_stars
    discs: Discs | None = None
