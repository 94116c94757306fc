"""What a raw frame's pixels say of themselves: their saturation, and what is doubtful about them and their gain."""

from __future__ import annotations

import attrs

from lcframework.frames.clipped_sky import clipped_doubts
from lcframework.frames.gain_doubts import gain_doubts, shifted_bits
from lcframework.frames.mosaics import mosaic_doubts
from lcframework.frames.raw_frames import RawFrame
from lcframework.frames.saturation import saturation_of
from lcframework.types import Doubt, HeaderInfo


@attrs.frozen
class Examined:
    """What the pixels of a raw frame say."""

    saturation: float  # in the raw unit: the level from which pixels are saturated; inf where unknown
    doubts: tuple[Doubt, ...]


def examine(raw: RawFrame, info: HeaderInfo, saturation: float = 0.0, gain_is_chosen: bool = False) -> Examined:
    """Look at a raw frame's pixels.

    Parameters
    ----------
    raw : RawFrame
        The frame.
    info : HeaderInfo
        What its header says.
    saturation : float
        The user's level of saturation, in the raw unit; 0 for none.
    gain_is_chosen : bool
        Whether the user gave the gain.
    """
    bits = shifted_bits(raw.image)
    # The greatest count of a converter, shifted, ends in as many zeros.
    top = raw.storage.top + 1 - 2**bits
    level, doubts = saturation_of(raw.image, top, info.saturation, raw.header, saturation)
    doubts += gain_doubts(raw.image, raw.storage, raw.header, info, bits, gain_is_chosen)
    doubts += mosaic_doubts(raw.image, raw.header, level)
    doubts += clipped_doubts(raw.image)
    return Examined(level, (*raw.doubts, *doubts))
