"""Calibration by bias, dark and flat."""

from __future__ import annotations

import attrs

from lcframework.types.arrays import Bools, Floats


@attrs.frozen
class Exposure:
    """What a reduction reads off one raw file's header; None where the header does not say."""

    name: str  # the file, as messages and records call it
    kind: str = ""  # a kind of calibration frame, such as "bias"; "light": a frame of the sky; "": none of these
    setup: tuple[tuple[str, str], ...] = ()  # (keyword, value): what must agree between a frame and its calibration
    band: str = ""
    exptime: float | None = None  # s
    temperature: float | None = None  # of the detector, degrees C
    shape: tuple[int, int] = (0, 0)  # (ny, nx) in the file


@attrs.frozen
class MasterPlan:
    """A master frame that is to be made, and from what."""

    name: str  # for people, and unique: two plans of one name are the same
    kind: str
    members: tuple[str, ...]  # the names of the exposures that are combined
    needs: tuple[MasterPlan, ...] = ()  # masters that are applied to the members before


@attrs.frozen(eq=False)
class Master:
    """A master frame."""

    kind: str
    image: Floats  # (ny, nx) in the raw unit; a flat is relative
    bad: Bools  # (ny, nx) where it says nothing
    exptime: float | None = None  # s, that `image` is of
    used: tuple[str, ...] = ()  # the names of the exposures that it was combined from in the end
    noise: float = float("nan")  # one sigma of a pixel, in the unit of `image`; nan: unknown
