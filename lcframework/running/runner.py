"""The driver: walks the chain, finds what is pending, hands it to an executor, and records what comes back."""

from __future__ import annotations

import datetime as dt
import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path

import attrs
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from lcframework.config.tools import Setup
from lcframework.executors import Executor
from lcframework.executors.warm_up import WarmUp
from lcframework.frames.frame_list import IMPORT
from lcframework.plugins import Plugins
from lcframework.provenance import digest
from lcframework.running.chain import described, limited
from lcframework.running.run_report import RunReport, StageReport, Unusable
from lcframework.stages.base import FORCED, Ledger, Stage, Unit, UnitResult
from lcframework.stages.scopes import Filter, UnknownName, check_names
from lcframework.storage.files import remove_leftovers
from lcframework.storage.records import Update, apply
from lcframework.storage.tables import Frame, Product, Run
from lcframework.types import LcfError, RunEvent

log = logging.getLogger(__name__)

Listener = Callable[[RunEvent], None]
_FINISH = "finish"


class Runner:
    """Runs stages in one workdir.

    Parameters
    ----------
    setup : Setup
        Configuration and tools.
    plugins : Plugins
        For executors and events.
    engine : sqlalchemy.engine.Engine
        The project's database.
    listeners : iterable of callables
        Told of every event, beside the plugins.
    """

    def __init__(self, setup: Setup, plugins: Plugins, engine: Engine, listeners: Iterable[Listener] = ()) -> None:
        self.setup, self.plugins, self.engine = setup, plugins, engine
        self._listeners = [*listeners, plugins.tell]
        self._executor: Executor | None = None
        self._warming = WarmUp()
        self._forced: dict[tuple[str, str], str] = {}
        self._admitted: dict[str, set[str]] = {}  # by stage, the units within the filter

    def run(self, stages: Sequence[Stage], force: Sequence[str] = (), only: Filter | None = None) -> RunReport:
        """Run stages in order; whatever ends the run early, what was finished is recorded.

        Raises
        ------
        UnknownName
            Where the filter names what no frame has, once all are imported.
        """
        only = only or Filter()
        stages = limited(stages, only)
        report = RunReport(only=only)
        run_id = self._begin(stages, only)
        remove_leftovers(self.setup.workdir)
        prepare_device(self.setup.config.run.device)
        self._tell(RunEvent("run_started"))
        try:
            self._force([s for s in stages if s.name in force], run_id, described(stages, only))
            for i, stage in enumerate(stages):
                entry = StageReport(stage.name)
                report.stages.append(entry)
                self._run_stage(stage, run_id, entry, stages[i + 1 :])
                if stage.name == IMPORT and only and not entry.missing:
                    self._check_names(only)
                if entry.missing:
                    report.message = entry.missing[0]
                    break
        except KeyboardInterrupt:
            report.interrupted = True
            self._close(kill=True)
        except UnknownName:
            self._close(kill=True)
            self._end(run_id, report, "failed")
            raise
        except LcfError as error:
            report.message = str(error)
        except sa.exc.OperationalError as error:
            self._close(kill=True)
            report.message = f"the database {self.engine.url!r} failed: {error.orig}. What was recorded is kept."
            return report
        except BaseException:
            self._close(kill=True)
            self._end(run_id, report, "failed")
            raise
        self._close(kill=report.interrupted)
        report.standing = self._standing(stages)
        self._end(run_id, report, report.outcome)
        self._tell(RunEvent("run_finished", message=report.message))
        return report

    def _check_names(self, only: Filter) -> None:
        with Session(self.engine) as session:
            check_names(session, self.setup.config.roi, only)

    def _run_stage(self, stage: Stage, run_id: int, report: StageReport, later: Sequence[Stage]) -> None:
        started = dt.datetime.now()
        tried: set[tuple[str, str]] = set()
        announced = False
        while True:
            units, pending, report.left_out = self._pending(stage, tried)
            self._admitted[stage.name] = {u.key for u in units}
            if not pending:
                report.up_to_date = len({u.key for u in units} - {key for key, _ in tried})
                break
            if not announced:
                self._tell(RunEvent("stage_started", stage.name, message=stage.title, total=len(pending)))
                announced = True
            total = len(tried) + len(pending)
            batches = stage.batches(pending)
            self._warm_up(stage, batches, later)
            for results in self._get_executor().run(stage, batches):
                for result in results:
                    tried.add((result.unit.key, result.unit.fingerprint))
                self._record(stage, results, run_id, report)
                for result in results:
                    text = result.outcome.summary or result.reason.split("\n")[0]
                    self._tell(RunEvent("unit_done", stage.name, result.unit.label, text, len(tried), total))
            tried.update((u.key, u.fingerprint) for batch in batches for u in batch)  # the others wait for these
        self._finish(stage)
        report.seconds = (dt.datetime.now() - started).total_seconds()
        if announced:
            self._tell(RunEvent("stage_finished", stage.name, done=len(tried), total=len(tried)))

    def _pending(self, stage: Stage, tried: set[tuple[str, str]]) -> tuple[list[Unit], list[Unit], int]:
        """Return the units within the filter, those of them that are pending, and how many pending ones are not."""
        with Session(self.engine) as session:
            ledger = Ledger(session)
            every = stage.units(session, ledger)
            session.commit()
            units = stage.within(session, every)
            pending = [u for u in stage.pending(units, ledger) if (u.key, u.fingerprint) not in tried]
            left_out = 0
            if len(units) < len(every):
                left_out = len(stage.pending(every, ledger)) - len(stage.pending(units, ledger))
        return units, pending, left_out

    def _record(self, stage: Stage, results: list[UnitResult], run_id: int, report: StageReport) -> None:
        """Write a batch's rows and products, one transaction a unit."""
        for result in results:
            unit = result.unit
            if result.state == "missing":
                if result.reason not in report.missing:
                    report.missing.append(result.reason)
                continue
            if result.state == "bug":
                head, _, trace = result.reason.partition("\n")
                log.error("%s: %s: %s\n%s", stage.name, unit.label, head, trace)
                report.bugs.append(Unusable(stage.name, unit.label, head))
                continue
            made = result.state == "made"
            records = result.outcome.records if made else stage.unusable_records(unit, result.reason)
            try:
                with Session(self.engine) as session:
                    before = session.get(Product, (stage.name, unit.key))
                    if made and before is not None:
                        self._withdraw(session, stage, unit, before)
                    apply(session, records)
                    session.merge(self._product(stage, result, before, run_id))
                    session.commit()
            except sa.exc.OperationalError:
                raise  # the database itself fails, not this unit
            except sa.exc.StatementError as error:
                log.exception("%s: %s: its rows were refused", stage.name, unit.label)
                report.bugs.append(Unusable(stage.name, unit.label, f"the database refused its rows: {error.orig}"))
                continue
            if made:
                report.unusable = [u for u in report.unusable if u.unit != unit.label]  # a second attempt succeeded
                report.done += 1
                report.summaries.append(result.outcome.summary)
            else:
                log.warning("%s: %s: %s", stage.name, unit.label, result.reason)
                report.unusable.append(Unusable(stage.name, unit.label, result.reason, unit.key))

    def _product(self, stage: Stage, result: UnitResult, before: Product | None, run_id: int) -> Product:
        """Return the row of what a unit made; `before` is the one that it replaces."""
        unit, outcome = result.unit, result.outcome
        again = self._forced.get((stage.name, unit.key))
        if before is not None and before.state == "made" and before.fingerprint == unit.fingerprint:
            again = str(run_id)  # its file was gone
        token = outcome.token or (digest([unit.fingerprint, again]) if again else unit.fingerprint)
        return Product(
            stage=stage.name, unit=unit.key, fingerprint=unit.fingerprint, token=token, components=unit.components,
            state=result.state, reason=result.reason, path=outcome.path, run_id=run_id, seconds=result.seconds,
        )  # fmt: skip

    @staticmethod
    def _withdraw(session: Session, stage: Stage, unit: Unit, before: Product) -> None:
        """Clear the frame's remark that a unit was unusable, now that it is made."""
        if before.state == "unusable" and unit.frame_id is not None:
            records = stage.unusable_records(unit, before.reason)
            apply(session, [attrs.evolve(r, where={**r.where, "comment": r.values["comment"]}, values={"comment": ""})
                            for r in records if isinstance(r, Update) and "comment" in r.values])  # fmt: skip

    def _force(self, stages: Sequence[Stage], run_id: int, asked: str) -> None:
        """Mark the products to be made again, all before any is: a run that goes on after a kill finds them."""
        with Session(self.engine) as session:
            ledger = Ledger(session)
            for stage, units in [(s, s.to_force(session, ledger, asked)) for s in stages]:
                stage.forget(session, units)
                for unit in units:
                    session.execute(
                        sa.update(Product)
                        .where(col(Product.stage) == stage.name, col(Product.unit) == unit)
                        .values(state=FORCED, fingerprint="", token=str(run_id), reason="")
                    )
            session.commit()
            marked = session.exec(select(Product.stage, Product.unit, Product.token).where(Product.state == FORCED))
            self._forced = {(stage, unit): token for stage, unit, token in marked}

    def _finish(self, stage: Stage) -> None:
        """Let the stage join its products, where they changed since it last did; also after a kill in between."""
        with Session(self.engine) as session:
            products = Ledger(session).of_stage(stage.name)
            state = digest(sorted([u, p.state, p.token] for u, p in products.items()))
            before = session.get(Product, (_FINISH, stage.name))
            if before is not None and before.fingerprint == state and not stage.outdated(self.setup.workdir):
                return
            stage.finish(session, self.setup.workdir)
            session.merge(
                Product(stage=_FINISH, unit=stage.name, fingerprint=state, token=state, components={}, state="made")
            )
            session.commit()

    def _standing(self, stages: Sequence[Stage]) -> list[Unusable]:
        """Return what is unusable; under a filter, of what it admits in the stages that the run came to."""
        with Session(self.engine) as session:
            ledger = Ledger(session)
            found = []
            for stage in stages:
                for product in ledger.of_stage(stage.name).values():
                    admitted = not stage.only or product.unit in self._admitted.get(stage.name, ())
                    if product.state == "unusable" and admitted:
                        label = self._label(session, product.unit)
                        found.append(Unusable(stage.name, label, product.reason, product.unit))
            return found

    @staticmethod
    def _label(session: Session, unit: str) -> str:
        parts = unit.split(":")
        frame = session.get(Frame, int(parts[1])) if parts[0] == "frame" and parts[1].isdigit() else None
        return Path(frame.original_image_path).name if frame else unit

    def _warm_up(self, stage: Stage, batches: Sequence[Sequence[Unit]], later: Sequence[Stage]) -> None:
        """Warm up later stages in a thread while workers do this one; wait for that where this one runs here."""
        if stage.accelerator:
            self._warming.wait()
        elif not stage.light and len(batches) > 1 and self.setup.config.run.workers != 1:
            self._warming.begin(later)

    def _get_executor(self) -> Executor:
        if self._executor is None:
            run = self.setup.config.run
            self._executor = self.plugins.get("lcf_executors", run.executor, "[run] executor").cls(run.workers)
        return self._executor

    def _close(self, kill: bool = False) -> None:
        if self._executor is not None:
            self._executor.close(kill)
            self._executor = None

    def _tell(self, event: RunEvent) -> None:
        for listener in self._listeners:
            listener(event)

    def _begin(self, stages: Sequence[Stage], only: Filter) -> int:
        now = dt.datetime.now(dt.UTC)
        text = self.setup.config.path.read_text(encoding="utf-8")
        with Session(self.engine) as session:
            session.execute(
                sa.update(Run).where(sa.column("outcome") == "running").values(outcome="killed", finished=now)
            )
            version, asked = metadata.version("lcframework"), described(stages, only)
            run = Run(started=now, version=version, stages=asked, settings=text)
            session.add(run)
            session.commit()
            return run.id or 0

    def _end(self, run_id: int, report: RunReport, outcome: str) -> None:
        with Session(self.engine) as session:
            run = session.get(Run, run_id)
            if run is not None:
                run.finished, run.outcome, run.message = dt.datetime.now(dt.UTC), outcome, report.message
                run.units_done = report.units_done
                run.units_unusable = sum(len(s.unusable) for s in report.stages)
                run.units_failed = len(report.bugs)
                session.add(run)
                session.commit()


def prepare_device(device: str) -> None:
    """Tell JAX which device to use and where to keep what it compiled, be it imported already or not."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lcframework" / "jax"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
    if device != "auto":
        os.environ["JAX_PLATFORMS"] = "cpu" if device == "cpu" else "cuda"
    if (jax := sys.modules.get("jax")) is not None:
        # The variables were read when the caller imported it. Workers still read them.
        jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
        least = float(os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"])
        jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
        if device != "auto" and jax.config.jax_platforms != os.environ["JAX_PLATFORMS"]:
            jax.config.update("jax_platforms", os.environ["JAX_PLATFORMS"])
