"""What is doubtful about a project: each cause once, with all frames that it holds for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import attrs
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from lcframework.config.toolbox import Toolbox
from lcframework.frames.frame_list import idle_exclusions
from lcframework.frames.overlapping import overlapping
from lcframework.frames.reduction import unused
from lcframework.frames.strange_frames import strange_frames
from lcframework.running.injection_doubts import doubts_of_injections
from lcframework.running.plugin_notes import plugin_doubts
from lcframework.settings.deciding import shown
from lcframework.settings.records import decided_settings
from lcframework.stages.calculate_absolute_zeropoints import CalculateAbsoluteZeropoints as Zeropoints
from lcframework.stages.calculate_normalization_coefficient import CalculateNormalizationCoefficient as Normalization
from lcframework.storage.doubts import doubt_records, doubts_in_force
from lcframework.storage.records import apply
from lcframework.storage.tables import DoubtRow, Frame
from lcframework.types import Doubt, Severity, readable
from lcframework.work import FieldGroupKey, Filter, FitKey, Scope
from lcframework.work.reasons import first_names
from lcframework.work.scopes import frame_scopes, idle_overrides

#: The name in the column `stage` of doubts about the project as a whole.
PROJECT = "project"
#: Stages whose units are groups of frames.
_OF_GROUPS = (Normalization.name, Zeropoints.name)


@attrs.frozen
class Cause:
    """A cause of doubt, and what it holds for.

    Attributes
    ----------
    kind, text, remedy : str
        As of :class:`~lcframework.types.Doubt`; where texts differ, that of the worst.
    severity : Severity
        The worst of its doubts.
    stage : str
        Whose products are doubtful; ``project`` for the project as a whole.
    frames, subjects : tuple of str
        The raw files' names; the stars, regions or files.
    values : tuple of float
        How bad each doubt is, where that is a number.
    """

    kind: str
    text: str
    remedy: str
    severity: Severity
    stage: str
    frames: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    values: tuple[float, ...] = ()

    @property
    def extent(self) -> str:
        """What it holds for, in a few words; empty for the project as a whole."""
        others = [s for s in self.subjects if not re.search(rf"(?<!\w){re.escape(s)}(?!\w)", self.text)]
        also = "also for " if len(others) < len(self.subjects) else ""
        parts = [_counted(self.frames, "frame"), f"{also}{first_names(others)}" if others else ""]
        return "; ".join(p for p in parts if p)

    @property
    def sentence(self) -> str:
        """The whole of it for people."""
        extent, remedy = (f" {self.extent}." if self.extent else ""), (f" {self.remedy}." if self.remedy else "")
        return f"{self.text.rstrip('.')}.{extent}{remedy}"


def _counted(names: Sequence[str], what: str) -> str:
    """Return how many names there are, and the first of them; empty where there is none."""
    return f"{len(names)} {what}{'s' if len(names) > 1 else ''}: {first_names(names)}" if names else ""


def causes(session: Session, toolbox: Toolbox, only: Filter) -> list[Cause]:
    """Return every cause of doubt within a filter, the worst first; those of the project as a whole in any case."""
    doubted = select(DoubtRow.frame_id)
    paths = session.exec(select(Frame.id, Frame.original_image_path).where(col(Frame.id).in_(doubted))).all()
    names = {frame_id: readable(path) for frame_id, path in paths}
    scopes = frame_scopes(session, toolbox.config.roi) if only else {}
    groups: dict[tuple[str, str, str], list[DoubtRow]] = {}
    for row in doubts_in_force(session):
        if only.admits(_scope(row, scopes)):
            groups.setdefault((row.stage, row.kind, row.severity), []).append(row)
    found = [_cause(rows, names) for rows in groups.values()]
    for doubt, frames in _of_project(session, toolbox):
        found.append(Cause(doubt.kind, doubt.text, doubt.remedy, doubt.severity, PROJECT, frames))
    return sorted(found, key=lambda c: c.severity.rank)


def _scope(row: DoubtRow, scopes: Mapping[int, Scope]) -> Scope:
    """Return what a doubt belongs to: its frame, or what the key of its unit names."""
    if row.frame_id is not None:
        return scopes.get(row.frame_id, Scope())
    if (fit := FitKey.parse(row.unit)) is not None:
        return Scope(frozenset([fit.roi]), fit.instrument, fit.band)
    group = FieldGroupKey.parse(row.unit) if row.stage in _OF_GROUPS else None
    return Scope() if group is None else Scope(None, group.instrument, group.band)


def _cause(rows: Sequence[DoubtRow], names: dict[int | None, str]) -> Cause:
    worst = max(rows, key=lambda r: (-Severity(r.severity).rank, abs(r.value or 0.0)))
    frames = dict.fromkeys(Path(names[r.frame_id]).name for r in rows if r.frame_id is not None)
    return Cause(
        worst.kind, worst.text, worst.remedy, Severity(worst.severity), worst.stage, tuple(frames),
        tuple(dict.fromkeys(r.subject for r in rows if r.subject)),
        tuple(r.value for r in rows if r.value is not None and math.isfinite(r.value)),
    )  # fmt: skip


def _of_project(session: Session, toolbox: Toolbox) -> Iterable[tuple[Doubt, tuple[str, ...]]]:
    """Yield what is doubtful about settings, files and skies, with the frames that it holds for."""
    config = toolbox.config
    for kind, sentences in (
        ("idle_exclusion", idle_exclusions(config)),
        ("idle_instrument", idle_overrides(session, config.instruments())),
        ("unused_calibration", unused(session) if _reduced(toolbox) else []),
    ):
        for sentence in sentences:
            yield Doubt(kind, sentence, severity=Severity.NOTE), ()
    for doubt in plugin_doubts(session, toolbox):
        yield doubt, ()
    for doubt in doubts_of_injections(session, toolbox):
        yield doubt, ()
    yield from strange_frames(session)
    yield from overlapping(session)
    for row in decided_settings(session):
        whose = f" of {row.instrument}" if row.instrument else ""
        if row.doubt:
            yield Doubt("setting_doubted", f"{row.setting}{whose}: {row.doubt}"), ()
        if row.disagreement:
            text = f"{row.setting}{whose} = {shown(row.value)} was decided by earlier frames: {row.disagreement}"
            yield Doubt("setting_outdated", text, f"`lcf settings --again {row.setting}` decides it anew"), ()


def _reduced(toolbox: Toolbox) -> bool:
    return any(toolbox.tool("reduction", name) for name in ("", *toolbox.configs))


def record_project_doubts(engine: Engine, toolbox: Toolbox) -> None:
    """Write the doubts about the project as a whole into the database, for those who query it."""
    with Session(engine) as session:
        doubts = []
        for number, (doubt, frames) in enumerate(_of_project(session, toolbox)):
            doubts.append(attrs.evolve(doubt, subject=", ".join(frames) or str(number)))
        apply(session, [doubt_records(PROJECT, PROJECT, doubts)])
        session.commit()


def as_json(found: Iterable[Cause]) -> list[dict[str, object]]:
    """Return causes as the ``doubts`` of ``--json``."""
    return [
        {"kind": c.kind, "severity": c.severity.value, "text": c.text, "remedy": c.remedy, "stage": c.stage,
         "frames": list(c.frames), "subjects": list(c.subjects), "values": list(c.values)}
        for c in found
    ]  # fmt: skip
