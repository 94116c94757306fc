"""Scopes of units, and filters that limit a run to some regions, bands and instruments."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs
from sqlmodel import Session, col, select

from lcframework.config.structuring import nearest_or_allowed
from lcframework.storage.queries import frame_rows
from lcframework.storage.tables import CombinedFootprint, Frame, RoiInFrame
from lcframework.types import LcfError


class UnknownName(LcfError):
    """A filter names a region, band or instrument that the project does not have."""


@attrs.frozen
class Scope:
    """The regions, instrument and band of a unit; None where it belongs to all, or where they are not known yet."""

    rois: frozenset[str] | None = None
    instrument: str | None = None
    band: str | None = None


def _names(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


@attrs.frozen
class Filter:
    """The regions, bands and instruments that a run is limited to; an empty tuple means all."""

    rois: tuple[str, ...] = attrs.field(default=(), converter=_names)
    bands: tuple[str, ...] = attrs.field(default=(), converter=_names)
    instruments: tuple[str, ...] = attrs.field(default=(), converter=_names)

    def __bool__(self) -> bool:
        """Return whether the filter limits anything."""
        return bool(self.rois or self.bands or self.instruments)

    def __str__(self) -> str:
        """Return the filter as options of the command line."""
        named = [*_as_options("--roi", self.rois), *_as_options("--band", self.bands)]
        return " ".join([*named, *_as_options("--instrument", self.instruments)])

    def admits(self, scope: Scope) -> bool:
        """Return whether the filter admits a unit of this scope."""
        return (
            (not self.rois or scope.rois is None or not scope.rois.isdisjoint(self.rois))
            and (not self.bands or scope.band is None or scope.band in self.bands)
            and (not self.instruments or scope.instrument is None or scope.instrument in self.instruments)
        )


def _as_options(option: str, names: Sequence[str]) -> list[str]:
    """Return the option followed by each of the names."""
    return [f"{option} {name}" for name in names]


def frame_scopes(session: Session, rois: Collection[str]) -> dict[int, Scope]:
    """Return the scope of each imported frame, by frame id; its regions are None until its footprint is known.

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
    columns = select(RoiInFrame.frame_id, RoiInFrame.roi, RoiInFrame.roi_in_footprint)
    for frame_id, roi, is_inside in session.exec(columns):
        recorded.setdefault(frame_id, set()).add(roi)
        if is_inside:
            inside.setdefault(frame_id, set()).add(roi)
    fields = [frozenset(f.rois) for f in session.exec(select(CombinedFootprint).where(CombinedFootprint.active))]
    out = {}
    for frame in frame_rows(session, col(Frame.image_relpath).is_not(None)):
        here: frozenset[str] | None = None
        if recorded.get(frame.id or 0, set()).issuperset(rois):
            contained = frozenset(inside.get(frame.id or 0, ()))
            here = contained.union(*(field for field in fields if field & contained))
        out[frame.id or 0] = Scope(here, frame.instrument, frame.band)
    return out


def field_rois(session: Session) -> dict[str, frozenset[str]]:
    """Return the regions that use each field of reference stars, by the hash of the field."""
    return {f.hash: frozenset(f.rois) for f in session.exec(select(CombinedFootprint))}


def idle_overrides(session: Session, instruments: Collection[str]) -> list[str]:
    """Return a remark on each of these instruments, which have overrides, that no imported frame has.

    Frames that are not imported yet may have it; the instrument of a frame is known only after its import.
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
        Names the most similar name, or all names that exist.
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
