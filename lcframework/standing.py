"""How a project stands: what its stages made and have to make, why, and what became of every file."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from sqlmodel import Session, col, select

from lcframework.database import Frame, NormalizationCoefficient, Product, PsfRow, RoiInFrame
from lcframework.frame_status import FrameStatus, frame_status, left_out
from lcframework.provenance import changes
from lcframework.scopes import Filter, Scope, frame_scopes
from lcframework.stages.base import FORCED, Entry, Ledger, Stage, Unit
from lcframework.stages.prepare_calibrated_cutouts import PrepareCalibratedCutouts
from lcframework.star_records import StarRecord, star_records


@attrs.frozen
class PendingUnit:
    """A unit that a run would work on, and why."""

    unit: str
    label: str
    why: tuple[str, ...]


@attrs.frozen
class StageStatus:
    """How a stage stands; `waiting` is True where its units are not known before an earlier stage has run."""

    name: str
    title: str
    made: int
    unusable: int
    pending: tuple[PendingUnit, ...]
    waiting: bool
    left_out: int = 0  # pending, and outside the filter


@attrs.frozen
class Status:
    """How a project stands: its stages, every file that was found, and its reference stars."""

    stages: tuple[StageStatus, ...]
    frames: tuple[FrameStatus, ...]
    unusable: tuple[tuple[str, str, str], ...]  # stage, unit, reason
    stars: tuple[StarRecord, ...] = ()


def standing(stages: Sequence[Stage], session: Session) -> Status:
    """Return how stages and files stand, within the stages' filter."""
    ledger = Ledger(session)
    told: list[StageStatus] = []
    for stage in stages:
        told.append(stage_status(stage, session, ledger, any(s.pending for s in told)))
    reasons = _left_out(stages, told, session, ledger)
    only = stages[0].only if stages else Filter()
    scopes = frame_scopes(session, stages[0].setup.config.roi) if only else {}
    rows = [
        f for f in session.exec(select(Frame).order_by(col(Frame.id))) if only.admits(scopes.get(f.id or 0, Scope()))
    ]
    partly = _partly_used(stages, told, session, ledger)
    states = [(frame_status(f, ledger, reasons.get(f.id or 0, "")), partly.get(f.id or 0, "")) for f in rows]
    frames = tuple(attrs.evolve(s, comment=why) if s.state == "used" and why else s for s, why in states)
    stars = star_records(session, {f.id or 0 for f in rows if not f.eliminated})
    unusable = tuple(
        (s.name, p.unit, p.reason) for s in stages for p in _products(s, session, ledger) if p.state == "unusable"
    )
    return Status(tuple(told), frames, unusable, tuple(stars.values()))


def planned(stages: Sequence[Stage], force: Sequence[str], session: Session) -> list[StageStatus]:
    """Return what a run would do now, within the stages' filter."""
    ledger = Ledger(session)
    plan: list[StageStatus] = []
    for stage in stages:
        seen = ledger
        if stage.name in force:
            seen = ledger.forcing(stage.name, stage.to_force(session, ledger))
        plan.append(stage_status(stage, session, seen, any(s.pending for s in plan)))
    return plan


def stage_status(stage: Stage, session: Session, ledger: Ledger, waiting: bool) -> StageStatus:
    """Return how a stage stands; `waiting`: an earlier one has work."""
    every = stage.units(session, ledger)
    units = stage.within(session, every)
    products = ledger.of_stage(stage.name)
    pending = tuple(
        PendingUnit(u.key, u.label, _why(stage, u, products.get(u.key), session)) for u in stage.pending(units, ledger)
    )
    left_out = len(stage.pending(every, ledger)) - len(pending) if len(units) < len(every) else 0
    states = [p.state for p in _products(stage, session, ledger)]
    made, unusable = states.count("made"), states.count("unusable")
    return StageStatus(stage.name, stage.title, made, unusable, pending, waiting, left_out)


def _products(stage: Stage, session: Session, ledger: Ledger) -> list[Entry]:
    """Return a stage's products, of units within the filter where there is one."""
    products = ledger.of_stage(stage.name)
    if not stage.only:
        return list(products.values())
    units = stage.within(session, stage.units(session, ledger))
    return [products[u.key] for u in units if u.key in products]


def _left_out(stages: Sequence[Stage], told: Sequence[StageStatus], session: Session, ledger: Ledger) -> dict[int, str]:
    """Return why frames are in no cutouts, once nothing that leads there is pending."""
    at = [s.name for s in stages].index(PrepareCalibratedCutouts.name)
    if any(s.pending for s in told[: at + 1]):
        return {}
    measured = {epoch.frame["id"] for u in stages[at].units(session, ledger) for epoch in u.payload.epochs}
    frames, psfs = session.exec(select(Frame)), session.exec(select(PsfRow))
    coefficients = session.exec(select(NormalizationCoefficient))
    return left_out(frames, coefficients, psfs, measured, stages[at].setup.config_for)


def _why(stage: Stage, unit: Unit, product: Entry | None, session: Session) -> tuple[str, ...]:
    """Return why a unit is pending."""
    if product is None:
        return ("new",)
    if product.state == FORCED:
        return ("to be made again: --force",)
    if product.fingerprint == unit.fingerprint:
        return (f"to be tried again: {product.reason}",)
    before = session.get(Product, (stage.name, unit.key))
    return tuple(changes(before.components if before else {}, unit.components))


def _partly_used(
    stages: Sequence[Stage], told: Sequence[StageStatus], session: Session, ledger: Ledger
) -> dict[int, str]:
    """Return which of the regions that a frame contains have it in no cutouts, where others have it."""
    at = [s.name for s in stages].index(PrepareCalibratedCutouts.name)
    if any(s.pending for s in told[: at + 1]):
        return {}
    having: dict[int, set[str]] = {}
    for unit in stages[at].units(session, ledger):
        for epoch in unit.payload.epochs:
            having.setdefault(epoch.frame["id"], set()).add(unit.payload.roi)
    lacking: dict[int, list[str]] = {}
    for row in session.exec(select(RoiInFrame).where(RoiInFrame.roi_in_footprint).order_by(col(RoiInFrame.roi))):
        known = row.roi in stages[at].setup.config.roi
        if known and row.frame_id in having and row.roi not in having[row.frame_id]:
            lacking.setdefault(row.frame_id, []).append(row.roi)
    return {frame: f"but not for {', '.join(rois)}: a selection leaves it out" for frame, rois in lacking.items()}
