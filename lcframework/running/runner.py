"""The driver: for each stage, finds the pending units, sends them to an executor and records the results."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from lcframework.config.executor import make_executor
from lcframework.config.toolbox import Toolbox
from lcframework.executors import Executor, SendsFits
from lcframework.executors.device import prepare_device
from lcframework.executors.warm_up import WarmUp
from lcframework.frames.exclusions import IMPORT
from lcframework.plugins import PluginFault, Plugins, Source, collected
from lcframework.running.attempts import Attempts, unread_needs
from lcframework.running.chain import described, limited
from lcframework.running.collecting import no_collection
from lcframework.running.conclusion import conclude
from lcframework.running.doubts import PROJECT
from lcframework.running.executing import batches_of, results_of
from lcframework.running.finishing import finish, is_finished
from lcframework.running.imported_frames import ImportedFrames
from lcframework.running.listing import Listing
from lcframework.running.memory import Basis, PlanMemory
from lcframework.running.recording import Recorder
from lcframework.running.repairs import Damage, Repairs, with_reads
from lcframework.running.run_report import RunReport
from lcframework.running.run_rows import begin_run, end_run
from lcframework.running.unusable import clear_old_remarks, still_unusable
from lcframework.settings.deciding import decide, sentence, settled
from lcframework.storage.connection import fails_itself, failure, failures_in_words
from lcframework.storage.doubts import forget_old_doubts
from lcframework.storage.faults import cannot_write
from lcframework.storage.files import remove_leftovers
from lcframework.storage.tables import Plan, RunOutcome
from lcframework.types import DamagedProduct, LcfError, RunEvent
from lcframework.work import Filter, Ledger, Stage, Task, Unit, UnitKey, UnitResult
from lcframework.work.reading import relative
from lcframework.work.scopes import UnknownName, check_names
from lcframework.work.time_limit import forget_notes

log = logging.getLogger(__name__)

Listener = Callable[[RunEvent], None]


class Runner:
    """Runs stages in one workdir.

    Parameters
    ----------
    toolbox : Toolbox
        Configuration and tools.
    plugins : Plugins
        For executors and events.
    engine : sqlalchemy.engine.Engine
        The project's database.
    listeners : iterable of callables
        Called with every event, in addition to the plugins.
    """

    def __init__(self, toolbox: Toolbox, plugins: Plugins, engine: Engine, listeners: Iterable[Listener] = ()) -> None:
        self.toolbox, self.plugins, self.engine = toolbox, plugins, engine
        self._by_file = toolbox  # without what frames decide
        self._listeners = [*listeners, plugins.notify]
        self._executor: tuple[Executor, Source] | None = None
        self._warming = WarmUp()
        self._memory = PlanMemory()
        self._listing = Listing()
        self._imported = ImportedFrames(engine)
        self._repairs = Repairs(engine, toolbox.workdir)
        self._admitted: dict[str, set[str]] = {}  # by stage, the units within the filter
        self._settled: dict[str, tuple[Basis, list[Unit[Any]]]] = {}  # by stage without pending units: basis, all units

    def run(self, stages: Sequence[Stage], force: Sequence[str] = (), only: Filter | None = None) -> RunReport:
        """Run stages in order; finished units are recorded even where the run stops early.

        Raises
        ------
        UnknownName
            Where, after the import, no frame has an instrument or band that the filter names.
        """
        only = only or Filter()
        stages = limited(stages, only)
        report = RunReport(only=only)
        asked = described(stages, only)
        recorder = Recorder(self.engine, begin_run(self.engine, self.toolbox.config, asked))
        remove_leftovers(self.toolbox.workdir)
        forget_notes(self.toolbox.workdir)
        prepare_device(self.toolbox.config.run.device)
        self._notify(RunEvent("run_started"))
        try:
            recorder.force([s for s in stages if s.name in force], asked)
            self._run_stages(stages, recorder, report)
        except KeyboardInterrupt:
            report.interrupted = True
            self._close(kill=True)
        except UnknownName:
            self._close(kill=True)
            end_run(self.engine, recorder.run_id, report, RunOutcome.FAILED)
            raise
        except LcfError as error:
            report.message = str(error)
        except BaseException as error:
            self._close(kill=True)
            if isinstance(error, sa.exc.DBAPIError) and fails_itself(error):
                report.message = failure(self.engine, error)
                self._notify(RunEvent("run_finished", message=report.message))
                return report
            report.message = cannot_write(error, self.toolbox.workdir)
            if not report.message:
                end_run(self.engine, recorder.run_id, report, RunOutcome.FAILED)
                raise
        report.repaired = self._repairs.remarks
        self._close(kill=report.interrupted)
        try:
            with failures_in_words(self.engine):
                if not (self.toolbox.config.frames.keep_imported or report.interrupted or report.message):
                    self._imported.drop(self.toolbox)
                for stage in stages:
                    stage.toolbox = self.toolbox  # by all decisions, as the next run will find it
                report.unusable_before = conclude(self.engine, stages, report, self._memory, self._admitted)
                end_run(self.engine, recorder.run_id, report, report.outcome)
        except LcfError as error:
            report.message = report.message or str(error)
        self._notify(RunEvent("run_finished", message=report.message))
        return report

    def _run_stages(self, stages: Sequence[Stage], recorder: Recorder, report: RunReport) -> None:
        """Run stages in order; where one comes across damaged products, go back to the stage that makes these."""
        names = [stage.name for stage in stages]
        i = 0
        while i < len(stages):
            stage, entry = stages[i], report.of(names[i])
            try:
                damage = self._run_or_skip(stage, recorder, report, stages[i + 1 :])
            except DamagedProduct as error:  # while units were listed, or joined
                damage = self._repairs.note({relative(self.toolbox.workdir, error.path): error.wrong})
            if damage.owners or damage.hopeless or damage.sound:
                back = self._repairs.go_back(damage, names, entry)
                if back is not None:
                    i = back
                    continue
            if stage.name == IMPORT and report.only and not entry.missing:
                self._check_names(report.only)
            if entry.missing:
                report.message = entry.missing[0]
                return
            i += 1

    def _run_or_skip(self, stage: Stage, recorder: Recorder, report: RunReport, later: Sequence[Stage]) -> Damage:
        """Run a stage; where a plugin's stage itself fails, those that do not rest on it are run all the same."""
        entry = report.of(stage.name)
        failed = {s.name for s in report.stages if s.broken and s is not entry} & {stage.after, *stage.needs}
        if failed and stage.source is not None:
            entry.broken = f"it rests on {', '.join(sorted(failed))}, which failed"
            return Damage()
        try:
            with collected() as calls:
                try:
                    return self._run_stage(stage, recorder, report, later)
                finally:
                    report.calls.add(stage.name, calls)
        except PluginFault as fault:
            if stage.source is None:
                raise
            log.exception("the stage %s failed", stage.name)
            entry.broken = str(fault)
            return Damage()

    def _check_names(self, only: Filter) -> None:
        with Session(self.engine) as session:
            check_names(session, self.toolbox.config.roi, only)

    def _run_stage(self, stage: Stage, recorder: Recorder, run: RunReport, later: Sequence[Stage]) -> Damage:
        """Run a stage; return which products of earlier stages are damaged, where the stage could not be finished."""
        report = run.of(stage.name)
        started = dt.datetime.now()
        attempts = Attempts()
        announced = False
        if (plan := self._prepare(stage, later)) is not None:
            report.up_to_date = plan.units
            if stage.outdated(self.toolbox.workdir):
                finish(self.engine, stage, self.toolbox.workdir)
            return Damage()
        while True:
            units, pending, report.left_out = self._pending(stage, recorder, attempts)
            self._admitted[stage.name] = {str(u.key) for u in units}
            if not pending:
                report.up_to_date = len(self._admitted[stage.name] - attempts.tried_units)
                break
            if not announced:
                self._notify(RunEvent("stage_started", stage.name, message=stage.title, total=len(pending)))
                announced = True
            self._make(stage, pending, recorder, attempts, run, later)
            damage = self._repairs.note(attempts.take_damaged())
            report.missing += damage.hopeless
            if damage.owners or damage.sound:
                attempts.again({unit for owner, unit in damage.owners.values() if owner == stage.name})
            if any(owner != stage.name for owner, _ in damage.owners.values()):
                return damage
        report.missing += unread_needs(report, len(units), attempts.count, recorder.stale)
        if not report.missing:
            finish(self.engine, stage, self.toolbox.workdir)
            self._remember(stage)
        report.seconds += (dt.datetime.now() - started).total_seconds()
        if announced:
            self._notify(RunEvent("stage_finished", stage.name, done=attempts.count, total=attempts.count))
        return Damage()

    def _make(
        self, stage: Stage, pending: Sequence[Unit[Any]], recorder: Recorder, attempts: Attempts, run: RunReport,
        later: Sequence[Stage],
    ) -> None:  # fmt: skip
        """Make those of the pending units that need not wait for others, and record what becomes of them."""
        report, tasks = run.of(stage.name), stage.tasks()
        total = attempts.count + len(pending)
        for task, own in _by_task(stage.ready(pending), tasks):
            readable, missing = self._imported.restore(self.toolbox, task, own, self._results)
            report.missing += [why for why in missing if why not in report.missing]
            batches = batches_of(*self._get_executor(), task, readable) if readable else []
            self._warm_up(task, batches, later)
            for results in self._results(task, batches):
                for result in results:
                    run.calls.add(stage.name, result.calls)
                attempts.add(results)
                recorder.record(stage, task, results, report)
                for result in results:
                    text = result.outcome.summary or result.reason.split("\n")[0]
                    self._notify(RunEvent("unit_done", stage.name, result.unit.label, text, attempts.count, total))
            attempts.close(own)

    def _prepare(self, stage: Stage, later: Sequence[Stage]) -> Plan | None:
        """Prepare a stage, and decide the settings that it uses; return its plan where that is known to hold."""
        with Session(self.engine) as session:
            known = self._memory.recall(session, stage, files=False) is not None
            if not known:
                stage.prepare(session, Ledger.of(session).seen_by(stage.name, stage.needs))
                forget_old_doubts(session, PROJECT)
            self._settle([stage, *later], session)
            plan = self._memory.recall(session, stage) if known else None
            if plan is not None:
                session.expunge(plan)
            session.commit()
        return plan

    def _settle(self, stages: Sequence[Stage], session: Session) -> None:
        """Decide what the project file leaves open before the first of the stages, and give the tools to all."""
        for row in decide(stages[0].name, session, self._by_file, self.plugins, self._imported.pixels):
            if row.value is None:
                continue  # as documented
            self._notify(RunEvent("setting_decided", stages[0].name, row.setting, sentence(row)))
        self.toolbox = settled(self._by_file, self.plugins, session)
        for stage in stages:
            stage.toolbox = self.toolbox

    @no_collection()
    def _pending(
        self, stage: Stage, recorder: Recorder, attempts: Attempts
    ) -> tuple[list[Unit[Any]], list[Unit[Any]], int]:
        """Return the units within the filter, the pending ones of these, and the number of pending units outside it."""
        with Session(self.engine) as session:
            ledger = Ledger.of(session).seen_by(stage.name, stage.needs)
            basis = None if stage.only else self._memory.basis(session, stage)
            every = self._listing.units(session, stage, ledger, basis)
            recorder.adopt(session, stage, every, ledger)
            units = stage.within(session, every)
            due = stage.pending(units, ledger)
            self._settled.pop(stage.name, None)
            if basis is not None and not due:
                self._settled[stage.name] = basis, every
            pending = [u for u in due if not attempts.done_with(u)]
            self._repairs.note_pending(stage, pending, ledger)
            pending = with_reads(session, stage, stage.filled(session, pending), ledger)
            if not pending:
                clear_old_remarks(session, stage, every, ledger)
            left_out = 0
            if len(units) < len(every):
                left_out = len(stage.pending(every, ledger)) - len(due)
            session.commit()
        return units, pending, left_out

    def _remember(self, stage: Stage) -> None:
        """Remember the plan of a stage without pending units; where it still holds then, the end of the run has it."""
        if stage.name not in self._settled:
            return
        basis, units = self._settled.pop(stage.name)
        with Session(self.engine) as session, contextlib.suppress(LcfError):
            ledger = Ledger.of(session).seen_by(stage.name, stage.needs)
            if is_finished(session, stage, ledger):
                failed = still_unusable(ledger.of_stage(stage.name).values(), units)
                self._memory.remember(session, stage, basis, units, failed)
                session.commit()

    def _warm_up(
        self, task: Task[Any, Any, Any], batches: Sequence[Sequence[Unit[Any]]], later: Sequence[Stage]
    ) -> None:
        """Warm up later stages in a thread while workers run this one; a stage that runs in the driver waits for it."""
        if isinstance(self._get_executor()[0], SendsFits):
            return
        if task.accelerator:
            self._warming.wait()
        elif not task.light and len(batches) > 1 and self.toolbox.config.run.workers != 1:
            self._warming.begin([task for stage in later for task in _tasks(stage)])

    def _results(self, task: Task[Any, Any, Any], batches: Sequence[Sequence[Unit[Any]]]) -> Iterator[list[UnitResult]]:
        return results_of(*self._get_executor(), task, batches)

    def _get_executor(self) -> tuple[Executor, Source]:
        """Return the project's executor, and who offers it."""
        if self._executor is None:
            self._executor = make_executor(self.toolbox.config, self.plugins)
        return self._executor

    def _close(self, kill: bool = False) -> None:
        if self._executor is not None:
            self._executor[0].close(kill)
            self._executor = None

    def _notify(self, event: RunEvent) -> None:
        for listener in self._listeners:
            listener(event)


def _tasks(stage: Stage) -> Iterable[Task[Any, Any, Any]]:
    """Return the tasks of a stage; none where it fails, which is told when it runs."""
    try:
        return stage.tasks().values()
    except PluginFault:
        return ()


def _by_task(
    units: Sequence[Unit[Any]], tasks: Mapping[type[UnitKey], Task[Any, Any, Any]]
) -> list[tuple[Task[Any, Any, Any], list[Unit[Any]]]]:
    """Return the units of each task, in the order of the first unit of each task."""
    found: dict[int, tuple[Task[Any, Any, Any], list[Unit[Any]]]] = {}
    for unit in units:
        task = tasks[type(unit.key)]
        found.setdefault(id(task), (task, []))[1].append(unit)
    return list(found.values())
