"""What a unit of work belongs to, and the filters of a run: regions, bands and instruments that alone are worked on."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs
from sqlmodel import Session, col, select

from lcframework.config.structuring import nearest_or_allowed
from lcframework.storage.tables import CombinedFootprint, Frame, RoiInFrame
from lcframework.types import LcfError


class UnknownName(LcfError):
    """A filter names a region, band or instrument that the project does not have."""


@attrs.frozen
class Scope:
    """What a unit belongs to; None where it belongs to all, or to which is not known yet."""

    rois: frozenset[str] | None = None
    instrument: str | None = None
    band: str | None = None


def _names(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


@attrs.frozen
class Filter:
    """The regions, bands and instruments that a run is limited to; without a name, all of a kind."""

    rois: tuple[str, ...] = attrs.field(default=(), converter=_names)
    bands: tuple[str, ...] = attrs.field(default=(), converter=_names)
    instruments: tuple[str, ...] = attrs.field(default=(), converter=_names)

    def __bool__(self) -> bool:
        """Whether it leaves anything out."""
        return bool(self.rois or self.bands or self.instruments)

    def __str__(self) -> str:
        """Return it as it is written on the command line."""
        named = [*_as_options("--roi", self.rois), *_as_options("--band", self.bands)]
        return " ".join([*named, *_as_options("--instrument", self.instruments)])

    def admits(self, scope: Scope) -> bool:
        """Whether a unit of this scope is worked on."""
        return (
            (not self.rois or scope.rois is None or not scope.rois.isdisjoint(self.rois))
            and (not self.bands or scope.band is None or scope.band in self.bands)
            and (not self.instruments or scope.instrument is None or scope.instrument in self.instruments)
        )


def _as_options(option: str, names: Sequence[str]) -> list[str]:
    """Return an option before each of its names."""
    return [f"{option} {name}" for name in names]


def frame_scopes(session: Session, rois: Collection[str]) -> dict[int, Scope]:
    """Return the scope of each frame: nothing of one that is not imported, no regions of one that is not placed.

    A frame belongs to the regions that it contains, and to those that share a field of reference stars with them.

    Parameters
    ----------
    session : Session
        On the project's database.
    rois : collection of str
        The project's regions.
    """
    recorded: dict[int, set[str]] = {}
    inside: dict[int, set[str]] = {}
    for row in session.exec(select(RoiInFrame)):
        recorded.setdefault(row.frame_id, set()).add(row.roi)
        if row.roi_in_footprint:
            inside.setdefault(row.frame_id, set()).add(row.roi)
    fields = [frozenset(f.rois) for f in session.exec(select(CombinedFootprint).where(CombinedFootprint.active))]
    out = {}
    for frame in session.exec(select(Frame).where(col(Frame.image_relpath).is_not(None))):
        here: frozenset[str] | None = None
        if recorded.get(frame.id or 0, set()).issuperset(rois):
            mine = frozenset(inside.get(frame.id or 0, ()))
            here = mine.union(*(field for field in fields if field & mine))
        out[frame.id or 0] = Scope(here, frame.instrument, frame.band)
    return out


def field_rois(session: Session) -> dict[str, frozenset[str]]:
    """Return the regions that each field of reference stars serves, by its hash."""
    return {f.hash: frozenset(f.rois) for f in session.exec(select(CombinedFootprint))}


def idle_overrides(session: Session, instruments: Collection[str]) -> list[str]:
    """Return a sentence on each of these instruments, which have settings of their own, that no imported frame has.

    Frames that wait to be imported may have it, and a frame's instrument is known only then.
    """
    there = session.exec(select(Frame.instrument).where(col(Frame.image_relpath).is_not(None)).distinct()).all()
    known = sorted(name for name in there if name)
    return [
        f'[instrument."{name}"] has no effect so far: no imported frame is of that instrument'
        f"{nearest_or_allowed(name, known)}"
        for name in instruments
        if there and name not in there
    ]


def check_names(session: Session, rois: Collection[str], only: Filter) -> None:
    """Refuse names that the project does not have.

    Raises
    ------
    UnknownName
        Naming the nearest, or all there are.
    """
    frames = select(Frame.band, Frame.instrument).where(col(Frame.image_relpath).is_not(None)).distinct()
    rows = session.exec(frames).all()
    known = {
        "region": (only.rois, list(rois)),
        "band": (only.bands, sorted({b for b, _ in rows if b})),
        "instrument": (only.instruments, sorted({i for _, i in rows if i})),
    }
    for kind, (asked, there) in known.items():
        for name in asked:
            if name not in there:
                raise UnknownName(f'the project has no {kind} "{name}"{nearest_or_allowed(name, there)}')
