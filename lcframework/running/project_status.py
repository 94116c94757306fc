"""The state of a project: products and pending units of its stages, with reasons, and the state of every file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col, select

from lcframework.config.toolbox import Toolbox
from lcframework.frames.exclusions import IMPORT
from lcframework.frames.frame_list import FrameList
from lcframework.plugins import PluginFault
from lcframework.provenance import Components, changes
from lcframework.running.chain import described
from lcframework.running.collecting import no_collection
from lcframework.running.frame_status import FrameState, FrameStatus, frame_status, left_out_of_fields
from lcframework.running.memory import PlanMemory, unusable_of
from lcframework.running.unusable import still_unusable
from lcframework.stages.prepare_calibrated_cutouts import PrepareCalibratedCutouts
from lcframework.stars.records import StarRecord, star_records
from lcframework.storage.queries import FrameRow, frame_rows, recorded_components
from lcframework.storage.tables import (
    CombinedFootprint,
    Plan,
    RoiInFrame,
)
from lcframework.work import Entry, Filter, Ledger, ProductState, Scope, Stage, Unit
from lcframework.work.scopes import frame_scopes


@attrs.frozen
class PendingUnit:
    """A unit that a run would make, and why."""

    unit: str
    label: str
    why: tuple[str, ...]


@attrs.frozen
class StageStatus:
    """The state of a stage; `waiting` is True where an earlier stage must run before its units are known."""

    name: str
    title: str
    made: int
    unusable: int
    pending: tuple[PendingUnit, ...]
    waiting: bool
    left_out: int = 0  # pending, and outside the filter
    broken: str = ""  # why a plugin's stage can't tell what is pending


@attrs.frozen
class Status:
    """The state of a project: of its stages, of every file that was found, and of its reference stars.

    `away` says which raw files could not be looked at; all else is what was recorded then, and nothing is pending.
    """

    stages: tuple[StageStatus, ...]
    frames: tuple[FrameStatus, ...]
    unusable: tuple[tuple[str, str, str], ...]  # stage, unit, reason
    stars: tuple[StarRecord, ...] = ()
    away: str = ""


@attrs.frozen
class _Seen:
    """The state of a stage, its products that can't be used, and what it notes of its units; `known`: remembered."""

    status: StageStatus
    failed: list[Entry]
    noted: Any
    known: bool = False


@no_collection()
def project_status(stages: Sequence[Stage], session: Session) -> Status:
    """Return the state of stages and files, within the filter of the stages."""
    ledger, memory = Ledger.of(session), PlanMemory()
    seen: list[_Seen] = []
    waiting = False
    for stage in stages:
        plan = memory.recall(session, stage)
        seen.append(_recalled(stage, session, plan, waiting) if plan else _look(stage, session, ledger, waiting))
        waiting = waiting or (plan is None and _brings_more(stage, seen[-1].status, session, ledger))
    recorded = any(s.known for s in seen if s.status.name == IMPORT)
    toolbox, only = stages[0].toolbox, stages[0].only
    scopes = frame_scopes(session, toolbox.config.roi) if only else {}
    rows = [f for f in _every_frame(session, toolbox, recorded) if only.admits(scopes.get(f.id or 0, Scope()))]
    reasons: Mapping[int, str] = {}
    partly: Mapping[int, str] = {}
    at = [s.name for s in stages].index(PrepareCalibratedCutouts.name)
    if not any(s.status.pending for s in seen[: at + 1]):
        having = _frames_of_rois(seen[at].noted)
        reasons, partly = _left_out(session, toolbox, having), _partly_used(session, toolbox, having)
    states = [(frame_status(f, ledger, reasons.get(f.id or 0, "")), partly.get(f.id or 0, "")) for f in rows]
    frames = tuple(attrs.evolve(s, comment=why) if s.state is FrameState.USED and why else s for s, why in states)
    stars = star_records(session, {f.id or 0 for f in rows if not f.eliminated})
    unusable = tuple((p.stage, p.unit, p.reason) for s in seen for p in s.failed)
    return Status(tuple(s.status for s in seen), frames, unusable, tuple(stars.values()))


def _every_frame(session: Session, toolbox: Toolbox, recorded: bool) -> list[FrameRow]:
    """Return the rows of all files that were ever found, updated as at the start of a run unless all is recorded."""
    rows = {f.id: f for f in frame_rows(session)}
    if not recorded:
        rows |= {f.id: f for f in FrameList(session, toolbox.config).frames}
    return [rows[i] for i in sorted(rows)]


@no_collection()
def planned(stages: Sequence[Stage], force: Sequence[str], session: Session) -> list[StageStatus]:
    """Return what a run would do now, within the stages' filter."""
    ledger, memory = Ledger.of(session), PlanMemory()
    asked = described(stages, stages[0].only if stages else Filter())
    plan: list[StageStatus] = []
    waiting = False
    for stage in stages:
        seen = ledger
        if stage.name in force:
            own = ledger.seen_by(stage.name, stage.needs)
            seen = ledger.forcing(stage.name, stage.to_force(session, own, asked))
        elif (known := memory.recall(session, stage)) is not None:
            plan.append(_recalled(stage, session, known, waiting).status)
            continue
        plan.append(_look(stage, session, seen, waiting).status)
        waiting = waiting or _brings_more(stage, plan[-1], session, ledger)
    return plan


def _brings_more(stage: Stage, status: StageStatus, session: Session, ledger: Ledger) -> bool:
    """Return whether a stage has pending units, or unrecorded changes, that may make units of later stages pending."""
    if status.broken:
        return False
    return bool(status.pending) or stage.unprepared(session, ledger.seen_by(stage.name, stage.needs))


def _look(stage: Stage, session: Session, whole: Ledger, waiting: bool) -> _Seen:
    """Return the state of a stage, also where it fails itself; `waiting`: an earlier stage may add units."""
    try:
        return _seen(stage, session, whole, waiting)
    except PluginFault as fault:
        if stage.source is None:
            raise
        products = list(whole.of_stage(stage.name).values())
        made = sum(p.state == ProductState.MADE for p in products)
        return _Seen(StageStatus(stage.name, stage.title, made, 0, (), waiting, broken=str(fault)), [], products)


def _seen(stage: Stage, session: Session, whole: Ledger, waiting: bool) -> _Seen:
    ledger = whole.seen_by(stage.name, stage.needs)
    every = stage.units(session, ledger)
    units = stage.within(session, every)
    products = ledger.of_stage(stage.name)
    stale = stage.pending(units, ledger)
    changed = {key for u in stale if (p := products.get(key := str(u.key))) is not None and not p.made_from(u)}
    made_of = recorded_components(session, stage.name, changed)
    pending = tuple(
        PendingUnit(key := str(u.key), u.label, _why(stage, u, products.get(key), made_of.get(key, {}), ledger))
        for u in stale
    )
    left_out = len(stage.pending(every, ledger)) - len(pending) if len(units) < len(every) else 0
    known = [products[str(u.key)] for u in units if str(u.key) in products] if stage.only else list(products.values())
    made, failed = sum(p.made for p in known), still_unusable(known, every)
    state = StageStatus(stage.name, stage.title, made, len(failed), pending, waiting, left_out)
    return _Seen(state, failed, stage.noted(every))


def _recalled(stage: Stage, session: Session, plan: Plan, waiting: bool) -> _Seen:
    """Return the state of a stage of which nothing is pending, as it was remembered."""
    failed = unusable_of(session, plan)
    return _Seen(StageStatus(stage.name, stage.title, plan.made, len(failed), (), waiting), failed, plan.noted, True)


def _frames_of_rois(noted: Mapping[str, Iterable[int]]) -> dict[int, set[str]]:
    """Return by frame id the regions whose cutouts contain the frame."""
    having: dict[int, set[str]] = {}
    for roi, ids in noted.items():
        for frame_id in ids:
            having.setdefault(frame_id, set()).add(roi)
    return having


def _left_out(session: Session, toolbox: Toolbox, measured: Mapping[int, set[str]]) -> dict[int, str]:
    """Return by frame id why a frame is in no cutouts; valid where no unit up to the cutouts is pending."""
    coefficients, psfs = _in_use(session, "normalization_coefficients"), _in_use(session, "PSFs")
    fields = {f.hash: f.rois for f in session.exec(select(CombinedFootprint).where(CombinedFootprint.active))}
    return left_out_of_fields(frame_rows(session), coefficients, psfs, measured, toolbox.config_for, fields)


def _in_use(session: Session, name: str) -> Sequence[Any]:
    """Return the rows of the fields in use in a table; the tables also keep rows of earlier fields."""
    table = SQLModel.metadata.tables[name]
    fields = sa.select(col(CombinedFootprint.hash)).where(col(CombinedFootprint.active))
    return session.execute(sa.select(table).where(table.c.combined_footprint_hash.in_(fields))).all()


def _why(stage: Stage, unit: Unit[Any], product: Entry | None, made_of: Components, ledger: Ledger) -> tuple[str, ...]:
    """Return why a unit is pending."""
    if product is None:
        return ("new",)
    if product.state == ProductState.FORCED:
        return ("to be made again: --force",)
    if product.made_from(unit):
        return (stage.harm(product, ledger) or f"to be tried again: {product.reason}",)
    return tuple(changes(made_of, unit.components))


def _partly_used(session: Session, toolbox: Toolbox, having: Mapping[int, set[str]]) -> dict[int, str]:
    """Return by frame id the regions in the frame whose cutouts lack it, where those of other regions contain it."""
    lacking: dict[int, list[str]] = {}
    inside = select(RoiInFrame.frame_id, RoiInFrame.roi).where(RoiInFrame.roi_in_footprint)
    for frame, roi in session.exec(inside.order_by(col(RoiInFrame.roi))):
        if roi in toolbox.config.roi and frame in having and roi not in having[frame]:
            lacking.setdefault(frame, []).append(roi)
    return {frame: f"but not for {', '.join(rois)}: a selection leaves it out" for frame, rois in lacking.items()}
