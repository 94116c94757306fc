"""Which bias, dark and flat frames are combined, and which of these groups calibrate a frame; by headers alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import attrs
import numpy as np

from lcframework.types import Exposure, MasterPlan

BIAS, DARK, FLAT = "bias", "dark", "flat"
#: Exposure times that differ by less, relatively, are one.
SAME_EXPTIME = 0.01


@attrs.frozen
class CalibrationSet:
    """Calibration frames that are combined to one master."""

    kind: str
    members: tuple[Exposure, ...]

    @property
    def exptime(self) -> float:
        """The shortest exposure time of its members, s; nan where none is known."""
        return min((e.exptime for e in self.members if e.exptime is not None), default=np.nan)

    @property
    def temperature(self) -> float | None:
        """The mean temperature of its members, degrees C."""
        known = [e.temperature for e in self.members if e.temperature is not None]
        return float(np.mean(known)) if known else None

    def plan(self, needs: Iterable[MasterPlan | None] = ()) -> MasterPlan:
        """Return the master that it makes."""
        first = self.members[0]
        ny, nx = first.shape
        values = " ".join(value for _, value in first.setup if value)
        what = {DARK: f"dark {self.exptime:g} s", FLAT: f"flat {first.band}".rstrip()}.get(self.kind, self.kind)
        coldest = min((e.temperature for e in self.members if e.temperature is not None), default=None)
        if self.kind == DARK and coldest is not None:
            what += f" {coldest:g} C"
        name = ", ".join(t for t in (what, values, f"{nx} x {ny}") if t)
        return MasterPlan(name, self.kind, tuple(sorted(e.name for e in self.members)), tuple(n for n in needs if n))


def matching(frame: Exposure, kind: str, available: Iterable[Exposure]) -> list[Exposure]:
    """Return the calibration frames of a kind that were taken as a frame was; flats through the same, known filter."""
    return [
        e for e in available
        if e.kind == kind and e.setup == frame.setup and e.shape == frame.shape
        and (kind != FLAT or (e.band == frame.band and e.band != ""))
    ]  # fmt: skip


def darks(exposures: Sequence[Exposure], tolerance: float) -> list[CalibrationSet]:
    """Return darks grouped by exposure time and temperature, without those whose exposure time is unknown."""
    out = []
    timed = [e for e in exposures if e.exptime is not None and e.exptime > 0]
    for same in _runs(timed, [float(e.exptime or 0) for e in timed], lambda first: first * SAME_EXPTIME):
        known = [e for e in same if e.temperature is not None]
        out += [CalibrationSet(DARK, tuple(g)) for g in _runs(known, [float(e.temperature or 0) for e in known],
                                                     lambda first: tolerance)]  # fmt: skip
        unknown = tuple(e for e in same if e.temperature is None)
        out += [CalibrationSet(DARK, unknown)] if unknown else []
    return out


def _runs(items: Sequence[Exposure], values: Sequence[float], width: Callable[[float], float]) -> list[list[Exposure]]:
    """Return items in order of their values, in groups no wider than `width` of a group's least value."""
    out: list[list[Exposure]] = []
    first = -np.inf
    for value, item in sorted(zip(values, items, strict=True), key=lambda pair: (pair[0], pair[1].name)):
        if not out or value - first > width(first):
            out.append([])
            first = value
        out[-1].append(item)
    return out


def best_dark(
    groups: Sequence[CalibrationSet], exptime: float, temperature: float | None, tolerance: float, scaled: bool
) -> CalibrationSet | None:
    """Return the darks to use for an exposure; None where none suits it.

    Those of its own exposure time; else, where they can be scaled, the shortest of the longer ones, or the longest:
    scaling down a dark also scales its noise down. Among equals the nearest in temperature.
    """

    def difference(group: CalibrationSet) -> float:
        own = group.temperature
        return 0.0 if temperature is None or own is None else abs(own - temperature)

    near = [g for g in groups if difference(g) <= tolerance]
    exact = [g for g in near if abs(g.exptime - exptime) <= 2 * SAME_EXPTIME * exptime]
    if exact or not scaled:
        return min(exact, key=difference, default=None)
    longer = [g for g in near if g.exptime > exptime]
    times = [g.exptime for g in longer or near]
    wanted = min(times, default=0.0) if longer else max(times, default=0.0)
    # Headers give the time that was measured: 300.02 s in one night's darks, 300.00 s in another's.
    return min((g for g in near if abs(g.exptime - wanted) <= SAME_EXPTIME * wanted), key=difference, default=None)


def usable_without_scaling(
    flats: Sequence[Exposure], available: Sequence[Exposure], tolerance: float
) -> list[Exposure]:
    """Return the flats to use where darks can't be scaled.

    They are those of one exposure time: of the times that have darks, the one with most flats. Where no time has
    darks, all flats are returned.
    """
    groups = darks(available, tolerance)
    timed = [e for e in flats if e.exptime is not None and e.exptime > 0]
    with_dark = []
    for same in _runs(timed, [float(e.exptime or 0) for e in timed], lambda first: first * SAME_EXPTIME):
        typical = same[len(same) // 2]
        if best_dark(groups, float(typical.exptime or 0), typical.temperature, tolerance, scaled=False):
            with_dark.append(same)
    return max(with_dark, key=len, default=list(flats))


def describe_available(frame: Exposure, kind: str, available: Iterable[Exposure]) -> str:
    """Return in words which calibration frames of a kind exist, and how they differ from what a frame needs."""
    of_kind = [e for e in available if e.kind == kind]
    if not of_kind:
        return f"[reduction] dirs hold no {kind}"
    counts = Counter(_difference(frame, e, kind) for e in of_kind)
    found = "; ".join(f"{n} of {text}" for text, n in counts.most_common(4))
    return f"there are {found}" if len(of_kind) > 1 else f"there is {found}"


def _difference(frame: Exposure, other: Exposure, kind: str) -> str:
    parts = [f"filter {other.band or 'unknown'}"] if kind == FLAT and not (other.band == frame.band != "") else []
    wanted = dict(frame.setup)
    parts += [f"{keyword} = {value or 'nothing'}" for keyword, value in other.setup if wanted.get(keyword) != value]
    if other.shape != frame.shape:
        parts.append(f"{other.shape[1]} x {other.shape[0]} pixels")
    if kind == DARK:
        parts.append(f"{other.exptime:g} s" if other.exptime is not None else "unknown exposure time")
        if other.temperature is not None:
            parts.append(f"{other.temperature:.0f} C")
    return ", ".join(parts) or "the same setup"


def describe_needed(frame: Exposure, kind: str) -> str:
    """Return in words which properties a calibration frame of a kind must have for a frame."""
    parts = [f"filter {frame.band or 'unknown'}"] if kind == FLAT else []
    if kind == DARK:
        parts.append(f"{frame.exptime:g} s" if frame.exptime is not None else "unknown exposure time")
        parts += [f"{frame.temperature:.0f} C"] if frame.temperature is not None else []
    parts += [f"{keyword} = {value or 'nothing'}" for keyword, value in frame.setup]
    return ", ".join([*parts, f"{frame.shape[1]} x {frame.shape[0]} pixels"])
