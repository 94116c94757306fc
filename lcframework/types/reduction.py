"""Reduction of raw frames with bias, dark and flat frames."""

from __future__ import annotations

import attrs

from lcframework.types.arrays import Bools, Floats


@attrs.frozen
class Exposure:
    """What a reduction reads from the header of one raw file; None where the header does not state it."""

    name: str  # of the file, in messages and records
    kind: str = ""  # such as "bias"; "light": a frame of the sky; "": not used by the reduction
    setup: tuple[tuple[str, str], ...] = ()  # (keyword, value), equal for a frame and its calibration
    band: str = ""
    exptime: float | None = None  # s
    temperature: float | None = None  # of the detector, degrees C
    shape: tuple[int, int] = (0, 0)  # (ny, nx) in the file


@attrs.frozen
class MasterPlan:
    """A master frame to be made, and the exposures that it is made from."""

    name: str  # shown to the user, and unique: plans with the same name are the same plan
    kind: str
    members: tuple[str, ...]  # the names of the exposures that are combined
    needs: tuple[MasterPlan, ...] = ()  # masters that are applied to the members before they are combined


@attrs.frozen(eq=False)
class Master:
    """A master frame, combined from exposures of one kind."""

    kind: str
    image: Floats  # (ny, nx) in the raw unit; a flat is relative
    bad: Bools  # (ny, nx) True where the master has no valid value
    exptime: float | None = None  # s, exposure time that `image` corresponds to
    used: tuple[str, ...] = ()  # the names of the exposures that were in fact combined
    noise: float = float("nan")  # one sigma of a pixel, in the unit of `image`; nan: unknown
