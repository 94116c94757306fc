"""Damaged products in a run: their units are marked, so that the run makes them again before it goes on."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from lcframework.running.run_report import StageReport
from lcframework.storage.faults import NOT_READ
from lcframework.storage.product_files import KnownFile, known_files, mark_damaged
from lcframework.storage.seals import Seal, wrong
from lcframework.storage.tables import Frame
from lcframework.work import Ledger, Stage, Unit, UnitResult
from lcframework.work.reading import seals_to_check

log = logging.getLogger(__name__)

#: How often one file is made again in a run.
_ATTEMPTS = 2


@attrs.frozen
class Damage:
    """Damaged files.

    Attributes
    ----------
    owners : mapping
        The stage and unit that makes each again, by path.
    hopeless : tuple of str
        Messages on those that none can make again.
    sound : bool
        Whether there are some that are not damaged after all.
    """

    owners: Mapping[str, tuple[str, str]] = attrs.field(factory=dict)
    hopeless: tuple[str, ...] = ()
    sound: bool = False


class Repairs:
    """Notes the damaged products that a run comes across.

    Parameters
    ----------
    engine : sqlalchemy.engine.Engine
        The project's database.
    workdir : Path
        The folder of products.

    Attributes
    ----------
    remarks : list of str
        What was made again, and why, for people.
    """

    def __init__(self, engine: Engine, workdir: Path) -> None:
        self.engine, self.workdir = engine, workdir
        self.remarks: list[str] = []
        self._times: Counter[str] = Counter()

    def note(self, damaged: Mapping[str, str]) -> Damage:
        """Mark damaged files, given by path with what is wrong, so that the units that made them are pending."""
        hopeless = []
        with Session(self.engine) as session:
            known = known_files(session, list(damaged))
            sound = {path for path, row in known.items() if self._is_sound(row)}
            owners = mark_damaged(session, {path: why for path, why in damaged.items() if path not in sound})
            session.commit()
        self._times.update(damaged.keys())
        given_up = {path for path in damaged if self._times[path] > _ATTEMPTS}
        for path, why in damaged.items():
            if path in given_up:
                hopeless.append(
                    f"{self.workdir / path} is damaged ({why}) and could not be made again in this run. If the disk is "
                    "sound, `lcf run --force` of the stage that makes it, without --roi, --band and --instrument, does"
                )
            elif path not in owners and path not in sound:
                hopeless.append(
                    f"{self.workdir / path} is damaged ({why}), and no product is known to have made it. Remove it, "
                    "and have the stage that makes it do so again: `lcf run --force STAGE`"
                )
            elif path in owners:
                self._remark(f"{path} was damaged ({why}) and is made again")
        return Damage(
            {path: owner for path, owner in owners.items() if path not in given_up},
            tuple(hopeless),
            bool(sound - given_up),
        )

    def _is_sound(self, row: KnownFile) -> bool:
        """Return whether a file is as it is recorded: it was written anew while the unit read it."""
        if row.size is None or row.damage:
            return False
        try:
            return not wrong(self.workdir, Seal(row.path, row.size, row.digest))
        except OSError:
            return False

    def note_pending(self, stage: Stage, units: Iterable[Unit[Any]], ledger: Ledger) -> None:
        """Say which of the pending units are so because their files are missing or damaged."""
        for unit in units:
            product = ledger.product(stage.name, unit.key)
            harm = stage.harm(product, ledger) if product is not None and product.made_from(unit) else ""
            if harm and not any(path in harm for path in self._times):
                self._remark(f"{unit.label} ({stage.name}) is made again: {harm}")

    def _remark(self, text: str) -> None:
        if text not in self.remarks:
            self.remarks.append(text)
            log.warning("%s", text)

    def go_back(self, damage: Damage, stages: Sequence[str], entry: StageReport) -> int | None:
        """Return the index of the first stage that must be run again; None where the run must stop."""
        entry.missing += [text for text in damage.hopeless if text not in entry.missing]
        left_out = {path: stage for path, (stage, _) in damage.owners.items() if stage not in stages}
        for path, stage in left_out.items():
            entry.missing.append(
                f"{self.workdir / path} is damaged, and {stage}, which makes it, is no part of this run: run without "
                "--start"
            )
        if entry.missing:
            return None
        return min([stages.index(stage) for stage, _ in damage.owners.values()], default=stages.index(entry.name))


def with_reads(session: Session, stage: Stage, units: Sequence[Unit[Any]], ledger: Ledger) -> list[Unit[Any]]:
    """Return units with the seals of the products that they read, so that workers can check them."""
    tasks = stage.tasks()
    paths = [list(tasks[type(unit.key)].reads(unit)) for unit in units]
    known = known_files(session, list(dict.fromkeys(path for some in paths for path in some)))
    out = []
    for unit, some in zip(units, paths, strict=True):
        product = ledger.product(stage.name, unit.key)
        own = {product.path} if product is not None else set()
        own |= {p for p in some if p in known and (known[p].stage, known[p].unit) == (stage.name, str(unit.key))}
        reads = seals_to_check([p for p in some if p not in own], known, stage.toolbox.workdir)
        out.append(attrs.evolve(unit, reads=reads))
    return out


def remark_not_read(session: Session, result: UnitResult) -> None:
    """Say with a frame that a file of it could not be read, where nothing else is said of it; nothing is committed."""
    if result.unit.frame_id is not None:
        session.execute(
            sa.update(Frame)
            .where(
                col(Frame.id) == result.unit.frame_id,
                sa.or_(col(Frame.comment) == "", col(Frame.comment).startswith(NOT_READ)),
            )
            .values(comment=f"{NOT_READ}{result.reason}; the next run tries again")
        )


def remarked_not_read(session: Session) -> set[int | None]:
    """Return the ids of the frames of which :func:`remark_not_read` has said something."""
    return set(session.exec(select(Frame.id).where(col(Frame.comment).startswith(NOT_READ))))


def clear_not_read(session: Session, frame_id: int) -> None:
    """Clear what :func:`remark_not_read` said of a frame; nothing is committed."""
    session.execute(
        sa.update(Frame).where(col(Frame.id) == frame_id, col(Frame.comment).startswith(NOT_READ)).values(comment="")
    )
