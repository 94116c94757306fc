"""The driver: walks the chain, finds what is pending, hands it to an executor, and records what comes back."""

from __future__ import annotations

import datetime as dt
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path

import attrs
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from lcframework.database import Product, Run, Update, apply
from lcframework.executors import Executor
from lcframework.plugins import Plugins
from lcframework.provenance import digest
from lcframework.stages.base import Ledger, Stage, Unit, UnitResult
from lcframework.store import remove_leftovers
from lcframework.tools import Setup
from lcframework.types import LcfError, RunEvent

log = logging.getLogger(__name__)

Listener = Callable[[RunEvent], None]
_FINISH = "finish"


@attrs.frozen
class Unusable:
    """An input that could not be used."""

    stage: str
    unit: str
    reason: str
    key: str = attrs.field(default="", repr=False)


@attrs.define
class StageReport:
    """What a stage did."""

    name: str
    done: int = 0
    up_to_date: int = 0
    unusable: list[Unusable] = attrs.field(factory=list)
    missing: list[str] = attrs.field(factory=list)
    bugs: list[Unusable] = attrs.field(factory=list)
    seconds: float = 0.0
    summaries: list[str] = attrs.field(factory=list)


@attrs.define
class RunReport:
    """What a run did; `message` says why it stopped early."""

    stages: list[StageReport] = attrs.field(factory=list)
    message: str = ""
    interrupted: bool = False
    standing: list[Unusable] = attrs.field(factory=list)  # unusable since earlier runs

    @property
    def units_done(self) -> int:
        """How many units were made."""
        return sum(s.done for s in self.stages)

    @property
    def unusable(self) -> list[Unusable]:
        """Every input that can't be used, from this run and earlier ones."""
        new = [u for s in self.stages for u in s.unusable]
        named = {(u.stage, u.key) for u in new}
        return new + [u for u in self.standing if (u.stage, u.key) not in named]

    @property
    def bugs(self) -> list[Unusable]:
        """Units that failed for no reason that the program knows."""
        return [u for s in self.stages for u in s.bugs]

    @property
    def exit_code(self) -> int:
        """0 success; 1 failure; 3 finished, but some inputs were unusable."""
        if self.message or self.interrupted or self.bugs or any(s.missing for s in self.stages):
            return 1
        return 3 if self.unusable else 0


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

    def run(self, stages: Sequence[Stage], force: Sequence[str] = ()) -> RunReport:
        """Run stages in order; whatever ends the run early, what was finished is recorded."""
        report = RunReport()
        run_id = self._begin(stages)
        remove_leftovers(self.setup.workdir)
        prepare_device(self.setup.config.run.device)
        self._tell(RunEvent("run_started"))
        try:
            for stage in stages:
                entry = StageReport(stage.name)
                report.stages.append(entry)
                self._run_stage(stage, stage.name in force, run_id, entry)
                if entry.missing:
                    report.message = entry.missing[0]
                    break
        except KeyboardInterrupt:
            report.interrupted = True
            self._close(kill=True)
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
        report.standing = self._standing({s.name for s in stages})
        self._end(run_id, report, _outcome(report))
        self._tell(RunEvent("run_finished", message=report.message))
        return report

    def _run_stage(self, stage: Stage, force: bool, run_id: int, report: StageReport) -> None:
        started = dt.datetime.now()
        tried: set[tuple[str, str]] = set()
        if force:
            self._forget(stage)
        announced = False
        while True:
            units, pending = self._pending(stage, force, tried)
            if not pending:
                report.up_to_date = len({u.key for u in units} - {key for key, _ in tried})
                break
            if not announced:
                self._tell(RunEvent("stage_started", stage.name, message=stage.title, total=len(pending)))
                announced = True
            total = len(tried) + len(pending)
            batches = stage.batches(pending)
            for results in self._get_executor().run(stage, batches):
                for result in results:
                    tried.add((result.unit.key, result.unit.fingerprint))
                self._record(stage, results, force, run_id, report)
                for result in results:
                    text = result.outcome.summary or result.reason.split("\n")[0]
                    self._tell(RunEvent("unit_done", stage.name, result.unit.label, text, len(tried), total))
            tried.update((u.key, u.fingerprint) for batch in batches for u in batch)  # the others wait for these
        self._finish(stage)
        report.seconds = (dt.datetime.now() - started).total_seconds()
        if announced:
            self._tell(RunEvent("stage_finished", stage.name, done=len(tried), total=len(tried)))

    def _pending(self, stage: Stage, force: bool, tried: set[tuple[str, str]]) -> tuple[list[Unit], list[Unit]]:
        with Session(self.engine) as session:
            ledger = Ledger(session)
            units = stage.units(session, ledger)
            session.commit()
            pending = [u for u in stage.pending(units, ledger) if (u.key, u.fingerprint) not in tried]
        return units, pending

    def _record(self, stage: Stage, results: list[UnitResult], force: bool, run_id: int, report: StageReport) -> None:
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
            token = result.outcome.token or unit.fingerprint
            if force and not result.outcome.token:
                token = digest([token, run_id])  # made again on request: so is what rests on it
            product = Product(
                stage=stage.name, unit=unit.key, fingerprint=unit.fingerprint, token=token, components=unit.components,
                state=result.state, reason=result.reason, path=result.outcome.path, run_id=run_id,
                seconds=result.seconds,
            )  # fmt: skip
            records = result.outcome.records if made else stage.unusable_records(unit, result.reason)
            try:
                with Session(self.engine) as session:
                    if made:
                        self._withdraw(session, stage, unit)
                    apply(session, records)
                    session.merge(product)
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

    @staticmethod
    def _withdraw(session: Session, stage: Stage, unit: Unit) -> None:
        """Clear the frame's remark that a unit was unusable, now that it is made."""
        before = session.get(Product, (stage.name, unit.key))
        if before is not None and before.state == "unusable" and unit.frame_id is not None:
            records = stage.unusable_records(unit, before.reason)
            apply(session, [attrs.evolve(r, where={**r.where, "comment": r.values["comment"]}, values={"comment": ""})
                            for r in records if isinstance(r, Update) and "comment" in r.values])  # fmt: skip

    def _forget(self, stage: Stage) -> None:
        with Session(self.engine) as session:
            stage.forget(session)
            session.execute(sa.delete(Product).where(sa.column("stage") == stage.name))
            session.commit()

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

    def _standing(self, stages: set[str]) -> list[Unusable]:
        with Session(self.engine) as session:
            ledger = Ledger(session)
            found = []
            for stage in stages:
                for product in ledger.of_stage(stage).values():
                    if product.state == "unusable":
                        label = self._label(session, product.unit)
                        found.append(Unusable(stage, label, product.reason, product.unit))
            return found

    @staticmethod
    def _label(session: Session, unit: str) -> str:
        from lcframework.database import Frame

        parts = unit.split(":")
        frame = session.get(Frame, int(parts[1])) if parts[0] == "frame" and parts[1].isdigit() else None
        return Path(frame.original_image_path).name if frame else unit

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

    def _begin(self, stages: Sequence[Stage]) -> int:
        now = dt.datetime.now(dt.UTC)
        text = self.setup.config.path.read_text(encoding="utf-8")
        names = f"{stages[0].name} .. {stages[-1].name}" if stages else ""
        with Session(self.engine) as session:
            session.execute(
                sa.update(Run).where(sa.column("outcome") == "running").values(outcome="killed", finished=now)
            )
            run = Run(started=now, version=metadata.version("lcframework"), stages=names, settings=text)
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


def _outcome(report: RunReport) -> str:
    if report.interrupted:
        return "interrupted"
    return {0: "success", 3: "finished with unusable inputs"}.get(report.exit_code, "failed")


def prepare_device(device: str) -> None:
    """Tell JAX, before anything imports it, which device to use and where to keep what it compiled."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lcframework" / "jax"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
    if device != "auto":
        os.environ["JAX_PLATFORMS"] = "cpu" if device == "cpu" else "cuda"
