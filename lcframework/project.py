"""The Python interface: a project file, its runs and its results."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import sqlalchemy as sa
from astropy.table import QTable, Table
from astropy.time import Time
from astropy.timeseries import TimeSeries
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from lcframework.chain import between, position, resolve, stage_names
from lcframework.config import Config, load
from lcframework.cutout_files import FOLDER
from lcframework.database import FILE_NAME, Frame, NormalizationCoefficient, Product, PsfRow, Star, open_engine
from lcframework.frame_list import EXCLUDED_BY_COMMAND, take_back
from lcframework.frame_status import FrameStatus, frame_status, left_out
from lcframework.plugins import Plugins
from lcframework.provenance import changes
from lcframework.runner import Listener, Runner, RunReport
from lcframework.stages.base import Ledger, Stage
from lcframework.stages.prepare_calibrated_cutouts import PrepareCalibratedCutouts, check_columns
from lcframework.structuring import Problem
from lcframework.tools import Setup, options
from lcframework.tools import select as select_tools
from lcframework.types import LcfError

LOG_FILE = "lcf.log"
LOCK_FILE = ".lock"


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


@attrs.frozen
class Status:
    """How a project stands: its stages, and every file that was found."""

    stages: tuple[StageStatus, ...]
    frames: tuple[FrameStatus, ...]
    unusable: tuple[tuple[str, str, str], ...]  # stage, unit, reason


class Project:
    """A project.

    Examples
    --------
    >>> project = Project.open("project.toml")  # doctest: +SKIP
    >>> project.run(stop="psf_modeling")  # doctest: +SKIP
    >>> project.light_curve("J0248")  # doctest: +SKIP
    """

    def __init__(self, config: Config, setup: Setup, stages: list[Stage], plugins: Plugins) -> None:
        self.config, self.setup, self.stages, self.plugins = config, setup, stages, plugins
        self._engine: Engine | None = None

    @classmethod
    def open(cls, path: str | Path, plugins: Plugins | None = None) -> Project:
        """Read a project file and select its plugins.

        Raises
        ------
        LcfError
            With everything that is wrong in the file.
        """
        plugins = plugins or Plugins.installed()
        config = load(Path(path), stage_names(plugins))
        setup = select_tools(config, plugins)
        for special in (config, *setup.configs.values()):
            check_columns(special.roi_cutouts.frames, special.roi_cutouts.normalization)
        return cls(config, setup, resolve(setup, plugins), plugins)

    @property
    def workdir(self) -> Path:
        """Where products are."""
        return self.config.workdir

    @property
    def stage_names(self) -> list[str]:
        """The names of the stages, in order."""
        return [s.name for s in self.stages]

    # ---------------------------------------------------------------- running

    def run(
        self,
        start: str | None = None,
        stop: str | None = None,
        force: Sequence[str] = (),
        listeners: Iterable[Listener] = (),
    ) -> RunReport:
        """Run the chain, or a part of it; what is up to date is left alone.

        Parameters
        ----------
        start, stop : str, optional
            First and last stage.
        force : sequence of str
            Stages whose products are made again, and with them what rests on them.
        listeners : iterable of callables
            Told of every :class:`~lcframework.types.RunEvent`.

        Raises
        ------
        LcfError
            Where another run holds the workdir, or it can't be written.
        """
        stages = between(self.stages, start, stop)
        for name in force:
            position(self.stage_names, name)
        with self.hold(), self._logging(), self._connected(self.engine()) as engine:
            return Runner(self.setup, self.plugins, engine, listeners).run(stages, force)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the workdir, so that no other run writes in it."""
        workdir = self.workdir
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            stream = (workdir / LOCK_FILE).open("a+", encoding="utf-8")
        except OSError as error:
            raise LcfError(
                f"the workdir {workdir} can't be written: {error.strerror}. Set [project] workdir to a folder of yours."
            ) from None
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.seek(0)
                raise LcfError(
                    f"another run holds {workdir}: {stream.read().strip() or 'unknown'}. Wait for its end."
                ) from None
            stream.truncate(0)
            stream.write(f"process {os.getpid()}, since {dt.datetime.now():%Y-%m-%d %H:%M:%S}")
            stream.flush()
            yield

    @contextlib.contextmanager
    def _logging(self) -> Iterator[None]:
        handler = logging.FileHandler(self.workdir / LOG_FILE, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger = logging.getLogger("lcframework")
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            handler.close()

    def engine(self) -> Engine:
        """Return the database, made if need be."""
        if self._engine is None:
            self._engine = open_engine(self.config.project.database, self.workdir)
        return self._engine

    @staticmethod
    @contextlib.contextmanager
    def _connected(engine: Engine) -> Iterator[Engine]:
        """Let connections go in the end; the engine makes new ones when asked."""
        try:
            yield engine
        finally:
            engine.dispose()

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Give a session on the database, for reading; on an empty one in memory where no run has made it yet."""
        with self._connected(self._reading_engine()) as engine, Session(engine) as session:
            yield session

    def _reading_engine(self) -> Engine:
        """Return the database; an empty one in memory where no run has made it yet."""
        if self._engine is None and not self.config.project.database and not (self.workdir / FILE_NAME).exists():
            return open_engine("sqlite://", self.workdir)
        return self.engine()

    # ---------------------------------------------------------------- standing

    def status(self) -> Status:
        """Return how every stage and every file stands; nothing is written."""
        with self.session() as session:
            ledger = Ledger(session)
            stages, open_before = [], False
            for stage in self.stages:
                status = self._stage_status(stage, session, ledger, open_before)
                open_before = open_before or bool(status.pending)
                stages.append(status)
            reasons = self._left_out(session, ledger, stages)
            frames = tuple(
                frame_status(f, ledger, reasons.get(f.id or 0, ""))
                for f in session.exec(select(Frame).order_by(col(Frame.id)))
            )
            unusable = tuple(
                (s.name, p.unit, p.reason)
                for s in self.stages
                for p in ledger.of_stage(s.name).values()
                if p.state == "unusable"
            )
            session.rollback()
        return Status(tuple(stages), frames, unusable)

    def plan(self, start: str | None = None, stop: str | None = None, force: Sequence[str] = ()) -> list[StageStatus]:
        """Return what a run would do now; stages after one with work may find more."""
        chosen = [s.name for s in between(self.stages, start, stop)]
        for name in force:
            position(self.stage_names, name)
        with self.session() as session:
            ledger = Ledger(session)
            plan, waiting = [], False
            for stage in self.stages:
                if stage.name in chosen:
                    seen = ledger.without(stage.name) if stage.name in force else ledger
                    status = self._stage_status(stage, session, seen, waiting)
                    waiting = waiting or bool(status.pending)
                    plan.append(status)
            session.rollback()
        return plan

    @staticmethod
    def _stage_status(stage: Stage, session: Session, ledger: Ledger, waiting: bool) -> StageStatus:
        units = stage.units(session, ledger)
        products = ledger.of_stage(stage.name)
        pending = []
        for unit in stage.pending(units, ledger):
            product = products.get(unit.key)
            if product is None:
                why: tuple[str, ...] = ("new",)
            elif product.fingerprint == unit.fingerprint:
                why = (f"to be tried again: {product.reason}",)
            else:
                before = session.get(Product, (stage.name, unit.key))
                why = tuple(changes(before.components if before else {}, unit.components))
            pending.append(PendingUnit(unit.key, unit.label, why))
        states = [p.state for p in products.values()]
        made, unusable = states.count("made"), states.count("unusable")
        return StageStatus(stage.name, stage.title, made, unusable, tuple(pending), waiting)

    def _left_out(self, session: Session, ledger: Ledger, stages: list[StageStatus]) -> dict[int, str]:
        """Return why frames are in no cutouts, once nothing that leads there is pending."""
        names = [s.name for s in self.stages]
        at = names.index(PrepareCalibratedCutouts.name)
        if any(s.pending for s in stages[: at + 1]):
            return {}
        measured = {epoch.frame["id"] for u in self.stages[at].units(session, ledger) for epoch in u.payload.epochs}
        frames, psfs = session.exec(select(Frame)), session.exec(select(PsfRow))
        coefficients = session.exec(select(NormalizationCoefficient))
        return left_out(frames, coefficients, psfs, measured, self.setup.config_for)

    def exclude(self, names: Sequence[str], why: str, undo: bool = False) -> int:
        """Take frames out of all stages, or back in.

        Parameters
        ----------
        names : sequence of str
            File names, or keys.
        why : str
            The reason that is recorded.
        undo : bool
            Take them back in.

        Returns
        -------
        int
            How many frames changed.

        Raises
        ------
        LcfError
            Where a name is no frame's, or an exclusion to undo is not the command's.
        """
        changed: set[int | None] = set()
        with self.hold(), self._connected(self.engine()) as engine, Session(engine) as session:
            frames = list(session.exec(select(Frame)))
            for name in names:
                mine = [f for f in frames if name in (f.key, Path(f.original_image_path).name, f.original_image_path)]
                if not mine:
                    raise LcfError(f'no frame is called "{name}"; `lcf status` lists them')
                for frame in mine:
                    if not undo:
                        frame.eliminated, frame.comment = True, EXCLUDED_BY_COMMAND + why
                    elif frame.comment.startswith(EXCLUDED_BY_COMMAND):
                        take_back(session, frame)
                    else:
                        state = frame.comment if frame.eliminated else "not excluded"
                        raise LcfError(f"{name} can't be taken back in: {state}")
                    changed.add(frame.id)
            session.commit()
        return len(changed)

    # ---------------------------------------------------------------- results

    def exporter(self, name: str, table: Mapping[str, Any]) -> Any:
        """Return an exporter with its options.

        Raises
        ------
        LcfError
            Where no installed plugin offers it, or an option is wrong.
        """
        problems: list[Problem] = []
        made = options(self.plugins.get("lcf_exporters", name).cls, table, name, self.config, problems)
        if made is None:
            raise LcfError("; ".join(p.message for p in problems))
        return made

    def frames(self) -> Table:
        """Return the table of frames."""
        return self._table(Frame)

    def stars(self) -> Table:
        """Return the table of reference stars."""
        return self._table(Star)

    def _table(self, model: type[Frame] | type[Star]) -> Table:
        with self.session() as session:
            rows = [r.model_dump() for r in session.exec(select(model))]
        if not rows:
            return Table(names=[c.name for c in sa.inspect(model).columns])
        return Table(rows=rows)

    def light_curve(self, roi: str | None = None) -> TimeSeries:
        """Return a region's light curve, one row an epoch.

        Raises
        ------
        LcfError
            Where the region has none yet.
        """
        table = self.light_curve_table(roi)
        series = TimeSeries(time=Time(table["mjd"].value, format="mjd", scale="utc"))
        series.meta.update(table.meta)
        for column in table.colnames:
            series[column] = table[column]
        return series

    def light_curve_table(self, roi: str | None = None) -> QTable:
        """Return a region's light curve as a table with units.

        Raises
        ------
        LcfError
            Where the region has none yet.
        """
        name = roi or next(iter(self.config.roi))
        if name not in self.config.roi:
            raise LcfError(f'there is no region "{name}"; regions: {", ".join(self.config.roi)}')
        path = self.workdir / FOLDER / f"{name}_photometry_per_epoch.ecsv"
        if not path.exists():
            raise LcfError(f"{name} has no light curve yet: run the project to its end")
        table = QTable.read(path, format="ascii.ecsv")
        table.meta["roi"] = name
        return table
