"""The driver: for each stage, finds the pending units, sends them to an executor and records the results."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from lcframework.config.executor import make_executor
from lcframework.config.toolbox import Toolbox
from lcframework.executors import Executor, SendsFits
from lcframework.executors.device import prepare_device
from lcframework.executors.warm_up import WarmUp
from lcframework.frames.exclusions import IMPORT
from lcframework.plugins import PluginFault, Plugins, Source, collected
from lcframework.provenance import digest
from lcframework.running.chain import described, limited
from lcframework.running.doubts import PROJECT
from lcframework.running.executing import batches_of, results_of
from lcframework.running.imported_frames import ImportedFrames
from lcframework.running.memory import PlanMemory, unusable_of
from lcframework.running.recording import Recorder
from lcframework.running.run_report import RunReport, StageReport, Unusable
from lcframework.running.unusable import clear_old_remarks, still_unusable
from lcframework.settings.deciding import decide, sentence, settled
from lcframework.storage.connection import fails_itself, failure, failures_in_words
from lcframework.storage.doubts import forget_old_doubts
from lcframework.storage.files import remove_leftovers
from lcframework.storage.tables import Frame, Plan, Product, Run, RunOutcome
from lcframework.types import LcfError, RunEvent, file_name, redacted
from lcframework.work import Entry, Filter, FrameKey, Ledger, ProductState, Stage, Task, Unit, UnitKey, UnitResult
from lcframework.work.scopes import UnknownName, check_names
from lcframework.work.time_limit import forget_notes

log = logging.getLogger(__name__)

Listener = Callable[[RunEvent], None]
_FINISH = "finish"


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
        self._imported = ImportedFrames(engine)
        self._admitted: dict[str, set[str]] = {}  # by stage, the units within the filter

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
        recorder = Recorder(self.engine, self._begin(asked))
        remove_leftovers(self.toolbox.workdir)
        forget_notes(self.toolbox.workdir)
        prepare_device(self.toolbox.config.run.device)
        self._notify(RunEvent("run_started"))
        try:
            recorder.force([s for s in stages if s.name in force], asked)
            for i, stage in enumerate(stages):
                entry = StageReport(stage.name)
                report.stages.append(entry)
                self._run_or_skip(stage, recorder, report, stages[i + 1 :])
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
            self._end(recorder.run_id, report, RunOutcome.FAILED)
            raise
        except LcfError as error:
            report.message = str(error)
        except BaseException as error:
            self._close(kill=True)
            if isinstance(error, sa.exc.DBAPIError) and fails_itself(error):
                report.message = failure(self.engine, error)
                return report
            self._end(recorder.run_id, report, RunOutcome.FAILED)
            raise
        self._close(kill=report.interrupted)
        try:
            with failures_in_words(self.engine):
                if not (self.toolbox.config.frames.keep_imported or report.interrupted or report.message):
                    self._imported.drop(self.toolbox)
                report.unusable_before = self._conclude(stages, report)
                self._end(recorder.run_id, report, report.outcome)
        except LcfError as error:
            report.message = report.message or str(error)
        self._notify(RunEvent("run_finished", message=report.message))
        return report

    def _run_or_skip(self, stage: Stage, recorder: Recorder, report: RunReport, later: Sequence[Stage]) -> None:
        """Run a stage; where a plugin's stage itself fails, those that do not rest on it are run all the same."""
        entry = report.stages[-1]
        failed = {s.name for s in report.stages[:-1] if s.broken}
        if failed & {stage.after, *stage.needs} and stage.source is not None:
            entry.broken = f"it rests on {', '.join(sorted(failed & {stage.after, *stage.needs}))}, which failed"
            return
        try:
            with collected() as calls:
                try:
                    self._run_stage(stage, recorder, report, later)
                finally:
                    report.calls.add(stage.name, calls)
        except PluginFault as fault:
            if stage.source is None:
                raise
            log.exception("the stage %s failed", stage.name)
            entry.broken = str(fault)

    def _check_names(self, only: Filter) -> None:
        with Session(self.engine) as session:
            check_names(session, self.toolbox.config.roi, only)

    def _run_stage(self, stage: Stage, recorder: Recorder, run: RunReport, later: Sequence[Stage]) -> None:
        report = run.stages[-1]
        started = dt.datetime.now()
        tried: set[tuple[str, str]] = set()
        announced = False
        done = 0
        if (plan := self._prepare(stage, later)) is not None:
            report.up_to_date = plan.units
            if stage.outdated(self.toolbox.workdir):
                self._finish(stage)
            return
        tasks = stage.tasks()
        while True:
            units, pending, report.left_out = self._pending(stage, recorder, tried)
            self._admitted[stage.name] = {str(u.key) for u in units}
            if not pending:
                report.up_to_date = len({str(u.key) for u in units} - {key for key, _ in tried})
                break
            if not announced:
                self._notify(RunEvent("stage_started", stage.name, message=stage.title, total=len(pending)))
                announced = True
            total = len(tried) + len(pending)
            for task, own in _by_task(stage.ready(pending), tasks):
                tried.update((str(u.key), u.fingerprint) for u in own)  # other pending units may depend on these
                readable, missing = self._imported.restore(self.toolbox, task, own, self._results)
                report.missing += [why for why in missing if why not in report.missing]
                of_task = batches_of(*self._get_executor(), task, readable) if readable else []
                self._warm_up(task, of_task, later)
                for results in self._results(task, of_task):
                    for result in results:
                        run.calls.add(stage.name, result.calls)
                    done += len(results)
                    recorder.record(stage, task, results, report)
                    for result in results:
                        text = result.outcome.summary or result.reason.split("\n")[0]
                        self._notify(RunEvent("unit_done", stage.name, result.unit.label, text, done, total))
        self._finish(stage)
        report.seconds = (dt.datetime.now() - started).total_seconds()
        if announced:
            self._notify(RunEvent("stage_finished", stage.name, done=len(tried), total=len(tried)))

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

    def _pending(
        self, stage: Stage, recorder: Recorder, tried: set[tuple[str, str]]
    ) -> tuple[list[Unit[Any]], list[Unit[Any]], int]:
        """Return the units within the filter, the pending ones of these, and the number of pending units outside it."""
        with Session(self.engine) as session:
            ledger = Ledger.of(session).seen_by(stage.name, stage.needs)
            every = stage.units(session, ledger)
            recorder.adopt(session, stage, every, ledger)
            units = stage.within(session, every)
            pending = [u for u in stage.pending(units, ledger) if (str(u.key), u.fingerprint) not in tried]
            if not pending:
                clear_old_remarks(session, stage, every, ledger)
            left_out = 0
            if len(units) < len(every):
                left_out = len(stage.pending(every, ledger)) - len(stage.pending(units, ledger))
            session.commit()
        return units, pending, left_out

    def _finish(self, stage: Stage) -> None:
        """Call `Stage.finish` where products changed since its last call, also in a run that was killed before it."""
        with Session(self.engine) as session:
            ledger = Ledger.of(session).seen_by(stage.name, stage.needs)
            state = _state_of(stage, ledger)
            if _finished(session, stage, state) and not stage.outdated(self.toolbox.workdir):
                return
            stage.finish(session, ledger, self.toolbox.workdir)
            made = ProductState.MADE.value
            session.merge(
                Product(stage=_FINISH, unit=stage.name, fingerprint=state, token=state, components={}, state=made)
            )
            session.commit()

    def _conclude(self, stages: Sequence[Stage], report: RunReport) -> list[Unusable]:
        """Return the unusable inputs, and remember the plans of stages of which nothing is left to be done.

        With a filter, only those that it admits in the stages that were run.
        """
        troubled = {s.name for s in report.stages if s.bugs or s.missing}
        whole = not (report.message or report.interrupted)
        with Session(self.engine) as session:
            found = []
            for stage in stages:
                stage.toolbox = self.toolbox  # by all decisions, as the next run will find it
                if (plan := self._memory.recall(session, stage, files=False)) is not None:
                    failed = unusable_of(session, plan)
                else:
                    failed = self._look_again(session, stage, whole and stage.name not in troubled)
                for product in failed:
                    if not stage.only or product.unit in self._admitted.get(stage.name, ()):
                        label = self._label(session, product.unit)
                        found.append(Unusable(stage.name, label, product.reason, product.unit))
            session.commit()
        return found

    def _look_again(self, session: Session, stage: Stage, remember: bool) -> list[Entry]:
        """Return the products of a stage's units that can't be used; `remember`: and the plan, where all is done."""
        ledger = Ledger.of(session).seen_by(stage.name, stage.needs)
        failed = [p for p in ledger.of_stage(stage.name).values() if p.state == ProductState.UNUSABLE]
        basis = None if stage.only or not remember else self._memory.basis(session, stage)
        if not failed and basis is None:
            return failed
        with contextlib.suppress(LcfError):  # settings by which there are no units: the run stopped with that
            units = stage.units(session, ledger)
            failed = still_unusable(failed, units)
            done = basis is not None and not stage.pending(units, ledger)
            if basis is not None and done and _finished(session, stage, _state_of(stage, ledger)):
                self._memory.remember(session, stage, basis, units, failed)
        return failed

    @staticmethod
    def _label(session: Session, unit: str) -> str:
        key = FrameKey.parse(unit)
        frame = session.get(Frame, key.frame_id) if key is not None else None
        return file_name(frame.original_image_path) if frame else unit

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

    def _begin(self, asked: str) -> int:
        now = dt.datetime.now(dt.UTC)
        text = redacted(self.toolbox.config.path.read_text(encoding="utf-8"))
        with Session(self.engine) as session:
            left = col(Run.outcome) == RunOutcome.RUNNING.value
            session.execute(sa.update(Run).where(left).values(outcome=RunOutcome.KILLED.value, finished=now))
            _hide_old_secrets(session)
            run = Run(started=now, version=metadata.version("lcframework"), stages=asked, settings=text)
            session.add(run)
            session.commit()
            return run.id or 0

    def _end(self, run_id: int, report: RunReport, outcome: RunOutcome) -> None:
        with Session(self.engine) as session:
            run = session.get(Run, run_id)
            if run is not None:
                run.finished, run.outcome, run.message = dt.datetime.now(dt.UTC), outcome.value, report.message
                run.units_done = report.units_done
                run.units_unusable = sum(len(s.unusable) for s in report.stages)
                run.units_failed = len(report.bugs)
                session.add(run)
                session.commit()


def _tasks(stage: Stage) -> Iterable[Task[Any, Any, Any]]:
    """Return the tasks of a stage; none where it fails, which is told when it runs."""
    try:
        return stage.tasks().values()
    except PluginFault:
        return ()


def _state_of(stage: Stage, ledger: Ledger) -> str:
    """Return a digest of a stage's products, of which `Stage.finish` makes what they have in common."""
    return digest(sorted([u, p.state, p.token] for u, p in ledger.of_stage(stage.name).items()))


def _finished(session: Session, stage: Stage, state: str) -> bool:
    """Return whether `Stage.finish` was called for the products of now."""
    before = session.get(Product, (_FINISH, stage.name))
    return before is not None and before.fingerprint == state


def _hide_old_secrets(session: Session) -> None:
    """Take passwords out of the settings that earlier versions recorded as they were."""
    for run in session.exec(select(Run).where(col(Run.settings).contains("://"))):
        if (clean := redacted(run.settings)) != run.settings:
            run.settings = clean
            session.add(run)


def _by_task(
    units: Sequence[Unit[Any]], tasks: Mapping[type[UnitKey], Task[Any, Any, Any]]
) -> list[tuple[Task[Any, Any, Any], list[Unit[Any]]]]:
    """Return the units of each task, in the order of the first unit of each task."""
    found: dict[int, tuple[Task[Any, Any, Any], list[Unit[Any]]]] = {}
    for unit in units:
        task = tasks[type(unit.key)]
        found.setdefault(id(task), (task, []))[1].append(unit)
    return list(found.values())
