"""A task: makes the units of one kind, in three steps that any worker can execute."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import attrs

from lcframework.config.toolbox import Toolbox
from lcframework.plugins import PluginFault, Source, collected, raised_at, silenced, working_on
from lcframework.provenance import digest
from lcframework.storage.faults import cannot_write, disk_full, not_read
from lcframework.storage.files import noting_files
from lcframework.storage.records import Record, Update
from lcframework.storage.seals import seals
from lcframework.types import DamagedProduct, NeedMissing, UnusableInput, redacted
from lcframework.work.reading import check_reads, paths_in, relative, unreadable
from lcframework.work.time_limit import TookTooLong, within
from lcframework.work.unit import Ending, Outcome, Unit, UnitResult

P = TypeVar("P")
V = TypeVar("V")
R = TypeVar("R")

log = logging.getLogger(__name__)

#: What the work on one unit may raise without harm to others: also a plugin's stage that calls sys.exit.
_FAILURES = (Exception, SystemExit)
#: How often a unit's files are read, where they can't be read at present: a network share may be back at once.
_ATTEMPTS = 2


@attrs.frozen
class Task(Generic[P, V, R]):
    """Makes the units of one kind; ``Task[payload, values, result]``.

    A task is pickled and sent to workers, which call `load`, `compute_batch` and `save`; these methods do not use the
    database. The driver calls the other methods.

    Attributes
    ----------
    stage : str
        The name of the stage.
    toolbox : Toolbox
        The project's configuration and selected plugins.
    accelerator : bool
        Whether `compute` uses the accelerator. It then runs in the driver's process, the only one that uses the device.
    light : bool
        Whether a unit is so little work that sending it to a worker would take longer.
    batch_size : int
        How many units are made together.
    """

    accelerator: ClassVar[bool] = False
    light: ClassVar[bool] = False
    batch_size: ClassVar[int] = 1

    stage: str
    toolbox: Toolbox = attrs.field(repr=False, eq=False)

    def load(self, unit: Unit[P]) -> V:
        """Read a unit's files into values.

        Raises
        ------
        UnusableInput
            Where they can't be used.
        """
        raise NotImplementedError

    def reads(self, unit: Unit[P]) -> Iterable[str]:
        """Return the paths, relative to the workdir, of the products that `load` reads; they are checked before.

        These are the paths that the payload contains. A task that reads others adds them. Called in the driver.
        """
        return paths_in(unit.payload)

    def compute(self, values: V) -> R:
        """Return the result for the values; no files and no database are used.

        Raises
        ------
        UnusableInput
            Where the values can't be used.
        NeedMissing
            Where something that the work needs is missing.
        """
        raise NotImplementedError

    def save(self, unit: Unit[P], values: V, result: R) -> Outcome:
        """Write a result's files, and return them with the records for the database."""
        raise NotImplementedError

    def compute_batch(self, batch: Sequence[V]) -> list[R | Exception]:
        """Compute several units; the list contains a result or, for a unit that failed, its exception."""
        results: list[R | Exception] = []
        for values in batch:
            try:
                results.append(self.compute(values))
            except Exception as error:
                results.append(error)
        return results

    def batches(self, units: Sequence[Unit[P]]) -> list[list[Unit[P]]]:
        """Group units for execution; a task may choose the size of a batch by the size of its units."""
        return [list(units[i : i + self.batch_size]) for i in range(0, len(units), self.batch_size)]

    def frames_read(self, unit: Unit[P]) -> tuple[str, ...]:
        """Return the imported frames that `load` reads, relative to the workdir; missing ones are made again first."""
        return ()

    def files(self, unit: Unit[P]) -> int:
        """Return how many files of the user are read, each of which has a limit of time; 0: the work has no limit."""
        return 0

    def warm_up(self) -> None:
        """Load what `compute` needs, where loading is slow; called in the driver while workers are busy.

        Only called for a task that uses the accelerator. It may be called in a thread, and may fail.
        """

    def unusable_records(self, unit: Unit[P], reason: str) -> tuple[Record, ...]:
        """Return the records for a unit that could not be used, in addition to its row in ``products``."""
        if unit.frame_id is None:
            return ()
        return (Update("frames", {"id": unit.frame_id}, {"comment": f"{self.stage}: {reason}"}),)


class BatchTask(Task[P, V, R]):
    """A task that computes several units at once: it defines `compute_batch`."""

    def compute(self, values: V) -> R:
        """Compute one unit; raises the exception that `compute_batch` returns for it."""
        result = self.compute_batch([values])[0]
        if isinstance(result, Exception):
            raise result
        return result

    def compute_batch(self, batch: Sequence[V]) -> list[R | Exception]:
        """Compute several units; the list contains a result or, for a unit that failed, its exception."""
        raise NotImplementedError


def work(task: Task[Any, Any, Any], units: Sequence[Unit[Any]]) -> list[UnitResult]:
    """Load, compute and save the units of a batch; an error of one unit does not stop the others.

    What reads files of the user has a limit of time, ``[run] seconds_per_file`` for each. The calls of plugins that
    this took are with the first result.
    """
    limit = task.toolbox.config.run.seconds_per_file if any(task.files(unit) for unit in units) else 0
    if not limit:
        return _work(task, units)
    results: list[UnitResult] = []
    for unit in units:
        try:
            with within(limit * task.files(unit), task.toolbox.workdir, digest([task.stage, str(unit.key)], 16)):
                made = _work(task, [unit])
        except TookTooLong as error:
            made = [_failed(task, attrs.evolve(unit, payload=None), error)]
        results += made
    return results


def _work(task: Task[Any, Any, Any], units: Sequence[Unit[Any]]) -> list[UnitResult]:
    started = time.perf_counter()
    with collected() as calls, silenced(Source("", "", f"the stage {task.stage}")):
        results = _worked(task, units)
    seconds = (time.perf_counter() - started) / max(1, len(units))
    # The payload is no longer needed; without it less data is sent back to the driver.
    return [
        attrs.evolve(
            results[i],
            unit=attrs.evolve(unit, payload=None, reads=()),
            seconds=seconds,
            calls=tuple(calls) if i == 0 else (),
        )
        for i, unit in enumerate(units)
    ]


def _worked(task: Task[Any, Any, Any], units: Sequence[Unit[Any]]) -> dict[int, UnitResult]:
    results: dict[int, UnitResult] = {}
    loaded: list[tuple[int, Any]] = []
    for i, unit in enumerate(units):
        try:
            with working_on(unit.label):
                loaded.append((i, _load(task, unit)))
        except _FAILURES as error:
            results[i] = _failed(task, unit, error, reading=True)
    labels = [units[i].label for i, _ in loaded]
    computed = _computed(task, [values for _, values in loaded], labels) if loaded else []
    for (i, values), result in zip(loaded, computed, strict=True):
        try:
            if isinstance(result, BaseException):
                raise result
            results[i] = _saved(task, units[i], values, result)
        except _FAILURES as error:
            results[i] = _failed(task, units[i], error)
    return results


def _computed(task: Task[Any, Any, Any], batch: list[Any], labels: list[str]) -> list[Any]:
    """Return the result or the exception of each unit; a batch that fails as a whole is tried unit by unit."""
    try:
        with working_on(labels[0] if len(labels) == 1 else f"{labels[0]} and {len(labels) - 1} others"):
            computed = list(task.compute_batch(batch))
        if len(computed) != len(batch):
            raise ValueError(f"compute_batch gave {len(computed)} results for {len(batch)} units")
        return computed
    except NeedMissing as error:
        return [error] * len(batch)
    except _FAILURES as error:
        if len(batch) == 1:
            return [error]
        log.warning("%s: a batch of %d failed (%s); its units are tried one by one", task.stage, len(batch), error)
    return [_computed(task, [values], [label])[0] for values, label in zip(batch, labels, strict=True)]


def _load(task: Task[Any, Any, Any], unit: Unit[Any]) -> Any:
    """Load a unit's files once they are found to be as they were written; try again where one can't be read now."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            if unit.reads:
                check_reads(task.toolbox.workdir, unit.reads)
            return task.load(unit)
        except OSError as error:
            if attempt == _ATTEMPTS or not not_read(error):
                raise
    raise AssertionError("unreachable")


def _saved(task: Task[Any, Any, Any], unit: Unit[Any], values: Any, result: Any) -> UnitResult:
    """Save a result, and seal the files that were written."""
    with noting_files() as files, working_on(unit.label):
        outcome = task.save(unit, values, result)
    made = seals(task.toolbox.workdir, files) if files else ()
    return UnitResult(unit, Ending.MADE, outcome=outcome, files=made)


def _failed(task: Task[Any, Any, Any], unit: Unit[Any], error: BaseException, reading: bool = False) -> UnitResult:
    """Return how a unit ended whose work raised an error, in `load` or after it."""
    if isinstance(error, UnusableInput):
        return UnitResult(unit, Ending.UNUSABLE, str(error))
    if isinstance(error, NeedMissing):
        return UnitResult(unit, Ending.MISSING, str(error))
    workdir = task.toolbox.workdir
    if isinstance(error, DamagedProduct):
        found = ((relative(workdir, error.path), error.wrong),)
        return UnitResult(unit, Ending.DAMAGED, str(error), damaged=found)
    if why := disk_full(error, workdir) if reading else cannot_write(error, workdir):
        return UnitResult(unit, Ending.MISSING, why)
    if reading and (damaged := unreadable(workdir, unit.reads)):
        return UnitResult(unit, Ending.DAMAGED, f"{damaged[0][0]}: {damaged[0][1]}", damaged=damaged)
    if reading and (why := not_read(error)):
        return UnitResult(unit, Ending.NOT_READ, why)
    text = "".join(traceback.format_exception(error))
    kind = "" if isinstance(error, PluginFault) else f"{type(error).__name__}: "  # a fault says who did what
    what, module = str(error), type(task).__module__
    if kind and not module.startswith("lcframework."):  # a plugin's stage
        what = " ".join(what.split()) + raised_at(error, module)
    return UnitResult(unit, Ending.BUG, redacted(f"{kind}{what}\n{text}"))
