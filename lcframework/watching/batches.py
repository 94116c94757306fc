"""A batch: one run of the project over the files that have come, and what it changed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from lcframework.frames.raw_folders import admitting
from lcframework.project import Project
from lcframework.report import draw, write_report
from lcframework.running.doubts import Cause
from lcframework.running.frame_status import FrameState
from lcframework.running.run_report import RunReport
from lcframework.types import LcfError, RunEvent, source_names
from lcframework.types.arrays import plain_floats

if TYPE_CHECKING:
    from astropy.table import QTable

#: Writes a project's light curves in another format.
Export = Callable[[Project], None]
#: A file, its state, and why it is not used.
FileState = tuple[str, FrameState, str]
#: At these events a run may end: everything before them is recorded.
_BETWEEN_UNITS = ("stage_started", "unit_done", "stage_finished")


@attrs.frozen
class Latest:
    """The latest epoch of a region.

    Attributes
    ----------
    region, frame, band, instrument : str
        What it belongs to.
    mjd : float
        UTC, middle of the exposure.
    epochs : int
        How many epochs the light curve has.
    sources : dict
        By source: magnitude, the larger of its two errors, flux in e-/s and its error; nan where there is none.
    flags : int
        The epoch's.
    """

    region: str
    frame: str
    band: str
    instrument: str
    mjd: float
    epochs: int
    sources: Mapping[str, tuple[float, float, float, float]]
    flags: int


@attrs.frozen
class Batch:
    """What a batch did.

    Attributes
    ----------
    new : tuple of str
        Names of the files that were given to it.
    frames : dict of str to int
        How many files have each state.
    left_out : tuple of (file, state, why)
        Files that take no part since this batch.
    latest : tuple of Latest
        Of each region that has a light curve.
    decided : tuple of str
        What frames decided about settings, in words.
    remade : int
        How many frames other than the new ones were measured again.
    doubts : tuple of Cause
        Those that are there since this batch.
    trouble : tuple of str
        What went wrong beside the frames: with the run, the report or an export.
    failed : bool
        Whether the run came to no end, so that its results are not those of all frames.
    again : bool
        Whether something is to be tried again, though no file changes.
    stopped : bool
        Whether it was asked to stop, and did so between two units of work.
    seconds : float
        How long all of it took.
    """

    new: tuple[str, ...] = ()
    frames: Mapping[str, int] = attrs.field(factory=dict)
    left_out: tuple[FileState, ...] = ()
    latest: tuple[Latest, ...] = ()
    decided: tuple[str, ...] = ()
    remade: int = 0
    doubts: tuple[Cause, ...] = ()
    trouble: tuple[str, ...] = ()
    failed: bool = False
    again: bool = False
    stopped: bool = False
    seconds: float = 0.0


@attrs.define
class Memory:
    """What the batches so far have told, so that the next one tells what is new."""

    files: set[FileState] = attrs.field(factory=set)
    doubts: set[tuple[str, str]] = attrs.field(factory=set)


@attrs.frozen
class After:
    """What is written after each run, beside the light curves: the report, its plots, and exports by their names."""

    report: bool = True
    plots: bool = False
    exports: Mapping[str, Export] = attrs.field(factory=dict)


@attrs.define
class _Listener:
    """Notes what a run decides and makes, and ends it between two units once it is asked to."""

    stop: Callable[[], bool]
    decided: list[str] = attrs.field(factory=list)
    measured: int = 0

    def __call__(self, event: RunEvent) -> None:
        if event.kind == "setting_decided":
            self.decided.append(event.message)
        if event.kind == "unit_done" and event.stage == "psf_modeling":
            self.measured += 1
        if event.kind in _BETWEEN_UNITS and self.stop():
            raise KeyboardInterrupt


def run_batch(
    project: Project, new: Sequence[Path], admitted: Collection[Path], after: After, memory: Memory,
    stop: Callable[[], bool],
) -> Batch:  # fmt: skip
    """Run a project over the files that may be read, and write what is to be written after it.

    Parameters
    ----------
    project : Project
        Opened.
    new : sequence of Path
        The files that this batch is for.
    admitted : collection of Path
        All files that the run may find, the new ones included.
    after : After
        What is written after it.
    memory : Memory
        Of the batches before; it is updated.
    stop : callable
        Returns whether the run is to end between two units of work.

    Raises
    ------
    WorkdirLocked
        Where another run holds the workdir.
    LcfError
        Where the project can't be run at all.
    """
    started = time.monotonic()
    listener = _Listener(stop)
    names = tuple(path.name for path in new)
    with admitting(admitted):
        report = project.run(listeners=[listener])
        if report.interrupted or (stop() and report.message):
            # Of a stop: system services end workers along with the driver.
            return Batch(names, stopped=True, seconds=time.monotonic() - started)
        files = {(f.file, f.state, f.comment) for f in project.status().frames}
        doubts = project.doubts()
    trouble = _trouble(report)
    latest: tuple[Latest, ...] = ()
    try:
        latest = latest_epochs(project)
    except (LcfError, OSError) as error:
        trouble.append(f"the light curve can't be read: {error}")
    # A run that stopped before its end leaves the report and the exports of the run before.
    trouble += [] if report.message else write_after(project, after, bool(latest))
    left_out = [f for f in sorted(files - memory.files) if f[1] is not FrameState.USED]
    counts = Counter(str(state) for _, state, _ in files)
    found = {(c.kind, c.text) for c in doubts}
    batch = Batch(
        new=names, frames=counts, left_out=tuple(left_out), latest=latest, decided=tuple(listener.decided),
        remade=max(0, listener.measured - len(names)) if memory.files else 0,
        doubts=tuple(c for c in doubts if (c.kind, c.text) not in memory.doubts),
        trouble=tuple(trouble), failed=bool(report.message),
        again=bool(report.message or report.not_read or report.bugs), seconds=time.monotonic() - started,
    )  # fmt: skip
    memory.files, memory.doubts = files, found
    return batch


def _trouble(report: RunReport) -> list[str]:
    """Return what went wrong in a run, beside inputs that can't be used."""
    found = [report.message] if report.message else []
    found += [f"{u.unit} could not be read, and is tried again: {u.reason}" for u in report.not_read]
    found += [f"{u.unit} ({u.stage}): a bug: {u.reason}" for u in report.bugs]
    return found + [f"{s.name}: {s.broken}" for s in report.stages if s.broken]


def write_after(project: Project, after: After, curves: bool) -> list[str]:
    """Write plots, report and exports; return what failed of them, because light curves do not depend on it."""
    jobs: dict[str, Callable[[], Any]] = {}
    if after.plots:
        jobs["the plots"] = lambda: draw(project, workers=project.config.run.workers)
    if after.report:
        jobs["the report"] = lambda: write_report(project)
    for name, export in after.exports.items() if curves else ():
        jobs[f"the export {name}"] = lambda export=export: export(project)  # type: ignore[misc]
    failed = []
    for what, job in jobs.items():
        try:
            job()
        except (LcfError, OSError) as error:
            failed.append(f"{what} can't be written: {error}")
    return failed


def latest_epochs(project: Project) -> tuple[Latest, ...]:
    """Return the latest epoch of each region that has a light curve."""
    found = []
    for region in project.config.roi:
        try:
            table = project.light_curve_table(region)
        except LcfError:
            continue  # none yet, or none any more: the states of the files say why
        if len(table):
            found.append(_latest(region, table))
    return tuple(found)


def _latest(region: str, table: QTable) -> Latest:
    newest = int(np.argmax(plain_floats(table["mjd"])))
    row = table[newest]

    def number(name: str) -> float:
        return float(plain_floats(table[name])[newest])

    sources = {}
    for name in source_names(table.colnames):
        errors = [number(f"{name}_d_mag_up"), number(f"{name}_d_mag_down")]
        error = float(np.nanmax(errors)) if np.isfinite(errors).any() else float("nan")
        sources[name] = (number(f"{name}_mag"), error, number(f"{name}_flux"), number(f"{name}_d_flux"))
    return Latest(
        region, str(row["frame"]), str(row["band"]), str(row["instrument"]), number("mjd"), len(table), sources,
        int(number("flags")),
    )  # fmt: skip
