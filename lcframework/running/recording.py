"""Writes the results of a run to the database: records and products of units, and products to be made again."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from lcframework.plugins import fault
from lcframework.provenance import counted, digest
from lcframework.running.repairs import clear_not_read, remark_not_read, remarked_not_read
from lcframework.running.run_report import StageReport, Unusable
from lcframework.storage.connection import fails_itself
from lcframework.storage.doubts import doubt_records, flag_doubted
from lcframework.storage.product_files import record_files
from lcframework.storage.records import Update, apply
from lcframework.storage.tables import FINGERPRINT_RULE, Product
from lcframework.types import PluginError
from lcframework.work import Ending, Ledger, ProductState, Stage, Task, Unit, UnitResult

log = logging.getLogger(__name__)


class Recorder:
    """Writes the results of stages, in one transaction for each unit.

    Parameters
    ----------
    engine : sqlalchemy.engine.Engine
        The project's database.
    run_id : int
        The run's row in ``runs``.
    """

    def __init__(self, engine: Engine, run_id: int) -> None:
        self.engine, self.run_id = engine, run_id
        self._forced: dict[tuple[str, str], str] = {}
        with Session(engine) as session:
            self._remarked = remarked_not_read(session)
        self.stale: set[str] = set()  # the keys of units that could not be read, whose products are out of date

    def force(self, stages: Sequence[Stage], asked: str) -> None:
        """Mark all products to be made again before any is made, so that a run after a kill finds the marks."""
        with Session(self.engine) as session:
            ledger = Ledger.of(session)  # read where a stage is forced
            for stage, units in [(s, s.to_force(session, ledger.seen_by(s.name, s.needs), asked)) for s in stages]:
                stage.forget(session, units)
                for unit in units:
                    session.execute(
                        sa.update(Product)
                        .where(col(Product.stage) == stage.name, col(Product.unit) == unit)
                        .values(state=ProductState.FORCED.value, fingerprint="", token=str(self.run_id), reason="")
                    )
            session.commit()
            forced = Product.state == ProductState.FORCED.value
            marked = session.exec(select(Product.stage, Product.unit, Product.token).where(forced))
            self._forced = {(stage, unit): token for stage, unit, token in marked}

    def adopt(self, session: Session, stage: Stage, units: Iterable[Unit[Any]], ledger: Ledger) -> None:
        """Update the fingerprints of up-to-date products that an earlier version recorded by another rule."""
        for unit in units:
            product = ledger.product(stage.name, unit.key)
            if product is None or product.fingerprint_rule == FINGERPRINT_RULE or not product.made_from(unit):
                continue
            session.execute(
                sa.update(Product)
                .where(col(Product.stage) == stage.name, col(Product.unit) == str(unit.key))
                .values(
                    fingerprint=unit.fingerprint, components=counted(unit.components), fingerprint_rule=FINGERPRINT_RULE
                )
            )

    def record(self, stage: Stage, task: Task[Any, Any, Any], results: list[UnitResult], report: StageReport) -> None:
        """Write the records and products of a batch, and count them in the report."""
        for result in results:
            unit = result.unit
            if result.ending is Ending.MISSING:
                if result.reason not in report.missing:
                    report.missing.append(result.reason)
                continue
            if result.ending is Ending.DAMAGED:
                continue  # it is made when what it reads has been made again
            if result.ending is Ending.NOT_READ:
                self._write_not_read(stage, result, report)
                continue
            if result.ending is Ending.BUG:
                head, _, trace = result.reason.partition("\n")
                if stage.source is not None:
                    head = str(fault(stage.source, head))
                log.error("%s: %s: %s\n%s", stage.name, unit.label, head, trace)
                report.bugs.append(Unusable(stage.name, unit.label, head))
                continue
            try:
                self._write(stage, task, result)
            except (sa.exc.SQLAlchemyError, PluginError, LookupError, TypeError, AttributeError) as error:
                if isinstance(error, sa.exc.DBAPIError) and fails_itself(error):
                    raise  # not because of this unit
                log.exception("%s: %s: its rows were refused", stage.name, unit.label)
                whose = f"{stage.source}: " if stage.source is not None else ""
                why = getattr(error, "orig", None) or error
                report.bugs.append(Unusable(stage.name, unit.label, f"{whose}the database refused its rows: {why}"))
                continue
            if result.ending is Ending.MADE:
                # A second attempt succeeded.
                report.unusable = [u for u in report.unusable if u.unit != unit.label]
                report.not_read = [u for u in report.not_read if u.key != str(unit.key)]
                report.done += 1
                report.summaries.append(result.outcome.summary)
            else:
                log.warning("%s: %s: %s", stage.name, unit.label, result.reason)
                report.unusable.append(Unusable(stage.name, unit.label, result.reason, str(unit.key)))

    def _write_not_read(self, stage: Stage, result: UnitResult, report: StageReport) -> None:
        unit = result.unit
        log.warning("%s: %s: could not be read: %s", stage.name, unit.label, result.reason)
        with Session(self.engine) as session:
            before = session.get(Product, (stage.name, str(unit.key)))
            if before is not None and before.state == ProductState.MADE and before.fingerprint != unit.fingerprint:
                self.stale.add(str(unit.key))
            remark_not_read(session, result)
            self._remarked.add(unit.frame_id)
            session.commit()
        others = [u for u in report.not_read if u.key != str(unit.key)]
        report.not_read = [*others, Unusable(stage.name, unit.label, result.reason, str(unit.key))]

    def _write(self, stage: Stage, task: Task[Any, Any, Any], result: UnitResult) -> None:
        unit, made = result.unit, result.ending is Ending.MADE
        records = result.outcome.records if made else task.unusable_records(unit, result.reason)
        with Session(self.engine) as session:
            before = session.get(Product, (stage.name, str(unit.key)))
            if made and before is not None:
                self._clear_remark(session, task, unit, before)
            doubts = result.outcome.doubts if made else ()
            apply(session, [*records, doubt_records(stage.name, str(unit.key), doubts, unit.frame_id)])
            files = result.files if made else ()
            record_files(session, stage.name, stage.needs, str(unit.key), files, result.outcome.path)
            session.merge(self._product(stage, result, before))
            if unit.frame_id is not None:
                if made and unit.frame_id in self._remarked:
                    clear_not_read(session, unit.frame_id)
                flag_doubted(session, [unit.frame_id])
            session.commit()

    def _product(self, stage: Stage, result: UnitResult, before: Product | None) -> Product:
        """Return the row of a unit's product; `before` is the row that it replaces."""
        unit, outcome = result.unit, result.outcome
        again = self._forced.get((stage.name, str(unit.key)))
        if before is not None and before.state == ProductState.MADE and before.fingerprint == unit.fingerprint:
            again = str(self.run_id)  # its file was missing or damaged
        token = outcome.token or (digest([unit.fingerprint, again]) if again else unit.fingerprint)
        state = ProductState.MADE if result.ending is Ending.MADE else ProductState.UNUSABLE
        return Product(
            stage=stage.name, unit=str(unit.key), fingerprint=unit.fingerprint, token=token,
            components=counted(unit.components), state=state.value, reason=result.reason, path=outcome.path,
            run_id=self.run_id, seconds=result.seconds, fingerprint_rule=FINGERPRINT_RULE,
        )  # fmt: skip

    @staticmethod
    def _clear_remark(session: Session, task: Task[Any, Any, Any], unit: Unit[Any], before: Product) -> None:
        """Clear the comment of the frame that the unit was unusable, because it is now made."""
        if before.state == ProductState.UNUSABLE and unit.frame_id is not None:
            records = task.unusable_records(unit, before.reason)
            apply(session, [attrs.evolve(r, where={**r.where, "comment": r.values["comment"]}, values={"comment": ""})
                            for r in records if isinstance(r, Update) and "comment" in r.values])  # fmt: skip
