"""The Python interface: a project file, its runs and its results."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from lcframework.config.project_file import Config, config_of, plugin_settings, read_toml, workdir_of
from lcframework.config.structuring import Problem, resolve_path
from lcframework.config.toolbox import Toolbox, options
from lcframework.config.toolbox import select as select_tools
from lcframework.frames.exclusions import IMPORT, exclude_frames, include_frames
from lcframework.local_plugins import local_plugins
from lcframework.local_plugins.files import local_codes
from lcframework.options import nearest
from lcframework.plugins import Plugins, asked, fault, unmet
from lcframework.roi.cutout_files import FOLDER
from lcframework.roi.cutout_selection import check_columns
from lcframework.roi.light_curves import read_light_curve
from lcframework.roi.series import lightkurve_of, time_series
from lcframework.running.chain import between, limited, position, resolve, stage_names
from lcframework.running.checkup import Checkup, check_project, mark
from lcframework.running.doubts import Cause, causes, record_project_doubts
from lcframework.running.imported_frames import ImportedFrames
from lcframework.running.plugin_notes import record_plugins
from lcframework.running.project_status import StageStatus, Status, planned, project_status
from lcframework.running.recorded_status import recorded_status
from lcframework.running.run_log import logged
from lcframework.running.run_report import RunReport
from lcframework.running.runner import Listener, Runner
from lcframework.settings.deciding import decide, open_settings, settled
from lcframework.settings.records import forget
from lcframework.settings.states import SettingState, setting_states
from lcframework.stars.check_star import CheckStar, check_stars
from lcframework.stars.records import add_verdicts, star_records
from lcframework.stars.sequence import StarSequence, read_sequence
from lcframework.storage.connection import FILE_NAME, failures_in_words, open_engine, open_for_reading, upgrade
from lcframework.storage.faults import faults_in_words
from lcframework.storage.lock import hold
from lcframework.storage.reading import hold_still
from lcframework.storage.tables import Frame, Star
from lcframework.trust import check, code_of
from lcframework.types import LcfError, NeedMissing
from lcframework.work import Filter, Ledger, Stage
from lcframework.work.scopes import UnknownName, check_names

if TYPE_CHECKING:
    from astropy.table import QTable, Table
    from astropy.timeseries import TimeSeries

log = logging.getLogger(__name__)


class Project:
    """A project: its configuration, its stages, and methods to run them and to read the results.

    Examples
    --------
    >>> project = Project.open("project.toml")  # doctest: +SKIP
    >>> project.run(stop="psf_modeling")  # doctest: +SKIP
    >>> project.light_curve("J0248")  # doctest: +SKIP
    """

    def __init__(self, config: Config, toolbox: Toolbox, stages: list[Stage], plugins: Plugins) -> None:
        self.config, self.toolbox, self.stages, self.plugins = config, toolbox, stages, plugins
        self._engine: Engine | None = None
        self._by_file = toolbox  # without what frames decided

    @classmethod
    def open(cls, path: str | Path, plugins: Plugins | None = None, *, trust: bool | None = None) -> Project:
        """Read a project file and select its plugins.

        A project that has products can be read without the plugins that made them; it can't be run, and says why.

        Parameters
        ----------
        path : str or Path
            The project file.
        plugins : Plugins, optional
            Those to select from, beside the project's own; without it, the installed ones.
        trust : bool, optional
            True: the code that the project brings along (its header parser, its local plugins) may run, now and later;
            False: only what the environment variable ``LCF_TRUST`` allows; without it, also what was allowed before.

        Raises
        ------
        NotTrusted
            Where the project brings code that was not allowed.
        LcfError
            Lists all errors of the file.
        """
        path = Path(path).resolve()
        text, raw = read_toml(path)
        wanted = plugin_settings(raw, path.parent)
        plugins = Plugins.installed(wanted.disable) if plugins is None else plugins.without(wanted.disable)
        workdir = workdir_of(raw, path.parent)
        if local := local_codes(wanted.local, path.parent):
            check(local, workdir, path, trust)
            plugins = plugins.joined(local_plugins((code.path, code.digest) for code in local))
        config = config_of(path, text, raw, stage_names(plugins), open_settings(plugins))
        made = bool(config.project.database) or (config.workdir / FILE_NAME).exists()
        toolbox = select_tools(config, plugins, partly=made)
        check(code_of(toolbox), workdir, path, trust)
        for special in (config, *toolbox.configs.values()):
            check_columns(special.roi_cutouts.frames, special.roi_cutouts.normalization)
        stages, absent = resolve(toolbox, plugins, partly=made)
        return cls(config, attrs.evolve(toolbox, absent=(*toolbox.absent, *absent)), stages, plugins)

    @property
    def absent(self) -> list[str]:
        """What this project needs and this environment has not, a sentence each; where there is any it can't be run."""
        return [p.message for p in self._by_file.absent] + unmet(self.config.plugins.requires)

    def check_plugins(self) -> None:
        """Refuse to run where plugins are absent that the project selects or requires.

        Raises
        ------
        ConfigError
            Names each, with what to do.
        """
        problems = [*self._by_file.absent]
        problems += [Problem("plugins.requires", text) for text in unmet(self.config.plugins.requires)]
        if problems:
            raise self.config.error(problems)

    @property
    def workdir(self) -> Path:
        """The folder of products."""
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
        *,
        rois: str | Sequence[str] = (),
        bands: str | Sequence[str] = (),
        instruments: str | Sequence[str] = (),
    ) -> RunReport:
        """Run all stages, or some of them; products that are up to date are not made again.

        Parameters
        ----------
        start, stop : str, optional
            First and last stage.
        force : sequence of str
            Stages whose products are made again, together with all products that depend on them.
        listeners : iterable of callables
            Called with every :class:`~lcframework.types.RunEvent`.
        rois, bands, instruments : str or sequence of str
            Work only on these regions, bands and instruments; empty: on all. Other products are not changed.

        Raises
        ------
        UnknownName
            Where the project has no such region, band or instrument.
        LcfError
            Where the workdir is locked or can't be written; where `force` names a stage that is not run.
        """
        self.check_plugins()
        stages = self._between(start, stop, force)
        upgraded = self.upgrade()
        only = self._only(rois, bands, instruments, [s.name for s in stages])
        with (
            self.hold(),
            logged(self.workdir),
            self._connected(self.engine()) as engine,
            faults_in_words(self.workdir),
        ):
            with Session(engine) as session:
                self._settle(session)  # stages that come before the first one have decided
            runner = Runner(self._by_file, self.plugins, engine, listeners)
            report = runner.run(stages, force, only)
            self.toolbox = runner.toolbox
            try:
                with failures_in_words(engine):
                    with Session(engine) as session:
                        record_plugins(session, self.toolbox)
                        session.commit()
                    record_project_doubts(engine, self.toolbox)
            except LcfError as error:
                report.message = report.message or str(error)
        report.upgraded = upgraded
        return report

    def upgrade(self) -> str:
        """Migrate a database of an earlier version; a run does so too.

        A database in a file is copied first. Existing products remain up to date where their inputs are unchanged.

        Returns
        -------
        str
            What was done, in words; empty where there was nothing to do.

        Raises
        ------
        LcfError
            Where a run has locked the workdir, or the database is of a version that can't be migrated.
        """
        with self.hold():
            done = upgrade(self.config.project.database, self.workdir)
        if done:
            with logged(self.workdir):
                log.warning("%s", done)
        return done

    def _between(self, start: str | None, stop: str | None, force: Sequence[str]) -> list[Stage]:
        stages = between(self.stages, start, stop)
        for name in force:
            position(self.stage_names, name)
            if name not in [s.name for s in stages]:
                raise LcfError(f"{name} is to be forced, but it does not lie between the first and the last stage")
        return stages

    def _only(
        self,
        rois: str | Sequence[str],
        bands: str | Sequence[str],
        instruments: str | Sequence[str],
        stages: Sequence[str] = (),
    ) -> Filter:
        """Return a filter; its names must exist, or `stages` must include an import that may add them."""
        only = Filter(rois, bands, instruments)
        if not only:
            return only
        with self.session() as session:
            try:
                check_names(session, self.config.roi, only)
            except UnknownName as error:
                if set(only.rois) - set(self.config.roi) or not self._import_waits(session):
                    raise
                if IMPORT not in stages:
                    raise UnknownName(f"{error} (a run that imports the files that wait may bring it)") from None
        return only

    def _import_waits(self, session: Session) -> bool:
        if not session.exec(select(Frame.id).where(col(Frame.image_relpath).is_not(None))).first():
            return True
        stage = self.stages[self.stage_names.index(IMPORT)]
        ledger = Ledger.of(session).seen_by(stage.name, stage.needs)
        return bool(stage.pending(stage.units(session, ledger), ledger))

    def hold(self) -> contextlib.AbstractContextManager[None]:
        """Return a context manager that locks the workdir, so that no other run writes in it."""
        return hold(self.workdir)

    def engine(self) -> Engine:
        """Return the engine of the database, which is created where it does not exist."""
        if self._engine is None:
            self._engine = open_engine(self.config.project.database, self.workdir)
        return self._engine

    @staticmethod
    @contextlib.contextmanager
    def _connected(engine: Engine) -> Iterator[Engine]:
        """Close the connections at the end; the engine opens new ones when it is used again."""
        try:
            with failures_in_words(engine):
                yield engine
        finally:
            engine.dispose()

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Yield a session to read the database as it is now, which writes and locks nothing.

        Where there is no database yet, an empty one in memory is used.
        """
        opened = open_for_reading(self.config.project.database, self.workdir)
        with self._connected(opened) as engine, Session(engine) as session:
            hold_still(session)
            self._settle(session)
            yield session

    def _settle(self, session: Session) -> None:
        """Give the settings that frames decided so far to the tools."""
        self.toolbox = settled(self._by_file, self.plugins, session)
        for stage in self.stages:
            stage.toolbox = self.toolbox

    # ---------------------------------------------------------------- health

    def checkup(self) -> Checkup | None:
        """Check the files of all products, and the database; nothing is written.

        Returns
        -------
        Checkup, optional
            None where nothing has run yet.
        """
        url = self.config.project.database
        if not url and not (self.workdir / FILE_NAME).exists():
            return None
        try:
            with self._connected(open_for_reading(url, self.workdir)) as engine, Session(engine) as session:
                return check_project(session, self.workdir)
        except (LcfError, sa.exc.DatabaseError) as error:
            return Checkup(0, {}, 0, (f"the database can't be read: {getattr(error, 'orig', None) or error}",))

    def mark_damaged(self, checkup: Checkup) -> int:
        """Have the next run make again what :meth:`checkup` found damaged.

        Returns
        -------
        int
            How many files it will not make, because no product is known to have made them.

        Raises
        ------
        LcfError
            Where a run has locked the workdir, or it can't be written.
        """
        with (
            self.hold(),
            self._connected(self.engine()) as engine,
            faults_in_words(self.workdir),
            Session(engine) as session,
        ):
            return mark(session, self.workdir, checkup)

    # ---------------------------------------------------------------- state

    def status(
        self,
        *,
        rois: str | Sequence[str] = (),
        bands: str | Sequence[str] = (),
        instruments: str | Sequence[str] = (),
    ) -> Status:
        """Return the state of every stage and every file; nothing is written.

        Where plugins, or a folder of raw files that had some before, are not there, it is what was recorded.

        Parameters
        ----------
        rois, bands, instruments : str or sequence of str
            Report only on these; empty: on all.

        Raises
        ------
        UnknownName
            Where the project has no such region, band or instrument.
        """
        only = self._only(rois, bands, instruments)
        with self.session() as session:
            if self._by_file.absent:
                return recorded_status(self.stages, session)
            try:
                return project_status(limited(self.stages, only), session)
            except NeedMissing as away:
                return attrs.evolve(recorded_status(self.stages, session), away=str(away))

    def plan(
        self,
        start: str | None = None,
        stop: str | None = None,
        force: Sequence[str] = (),
        *,
        rois: str | Sequence[str] = (),
        bands: str | Sequence[str] = (),
        instruments: str | Sequence[str] = (),
    ) -> list[StageStatus]:
        """Return what a run would do now; later stages may find more work. Arguments as in :meth:`run`."""
        self.check_plugins()
        chosen = self._between(start, stop, force)
        only = self._only(rois, bands, instruments, [s.name for s in chosen])
        with self.session() as session:
            return planned(limited(chosen, only), force, session)

    def doubts(
        self,
        *,
        rois: str | Sequence[str] = (),
        bands: str | Sequence[str] = (),
        instruments: str | Sequence[str] = (),
    ) -> list[Cause]:
        """Return what makes results doubtful, and settings and files without effect: each cause once, worst first.

        The arguments limit it as those of :meth:`status` do.
        """
        only = self._only(rois, bands, instruments)
        with self.session() as session:
            return causes(session, self.toolbox, only)

    def settings(self) -> list[SettingState]:
        """Return every setting that frames can decide: its value, and who gave it and why."""
        with self.session() as session:
            return setting_states(self._by_file, self.plugins, session, self.stage_names)

    def decide_online(self, stage: str) -> None:
        """Decide what is open before a stage, as far as there are frames, with the network whatever the project says.

        Raises
        ------
        LcfError
            Where a run has locked the workdir.
        """
        self.check_plugins()
        if not self.config.project.database and not (self.workdir / FILE_NAME).exists():
            return  # nothing has run yet
        online = select_tools(self.config.with_settings({"run.offline": False}), self.plugins)
        with self.hold(), self._connected(self.engine()) as engine, Session(engine) as session:
            decide(stage, session, online, self.plugins, ImportedFrames(engine).pixels)
            session.commit()
            self._settle(session)

    def decide_again(self, settings: Sequence[str]) -> int:
        """Forget decisions on settings, so that the next run decides them anew by the frames of then.

        Returns
        -------
        int
            How many decisions there were.

        Raises
        ------
        LcfError
            Where no rule decides a setting, or a run has locked the workdir.
        """
        with self.hold(), self._connected(self.engine()) as engine, Session(engine) as session:
            states = setting_states(self._by_file, self.plugins, session, self.stage_names)
            known = [s.setting for s in states]
            for name in settings:
                if name not in known:
                    raise LcfError(f'no rule decides "{name}"{nearest(name, known)}. Decided: {", ".join(known)}')
            count = forget(session, settings)
            session.commit()
        return count

    def exclude(self, names: Sequence[str], why: str, undo: bool = False) -> int:
        """Exclude frames from all stages, or undo that.

        Parameters
        ----------
        names : sequence of str
            File names or frame names.
        why : str
            The reason, which is recorded.
        undo : bool
            Undo an earlier exclusion.

        Returns
        -------
        int
            The number of frames that changed.

        Raises
        ------
        LcfError
            Where no frame has a name, or an exclusion to undo was not made by this method.
        """
        with self.hold(), self._connected(self.engine()) as engine, Session(engine) as session:
            changed = include_frames(session, names) if undo else exclude_frames(session, names, why)
            session.commit()
        return changed

    # ---------------------------------------------------------------- results

    def exporter(self, name: str, table: Mapping[str, Any]) -> Any:
        """Return an exporter with its options.

        Parameters
        ----------
        name : str
            The name that its plugin offers; `lcf plugins` lists them.
        table : mapping
            Options by name.

        Raises
        ------
        LcfError
            Where no installed plugin offers the name, or an option is wrong.
        """
        problems: list[Problem] = []
        made = options(self.plugins.get("lcf_exporters", name).cls, table, name, self.config, problems)
        if made is None:
            raise LcfError("; ".join(p.message for p in problems))
        return made

    def export(self, name: str, exporter: Any, light_curve: Table, path: Path) -> None:
        """Write a light curve with an exporter of :meth:`exporter`.

        Raises
        ------
        PluginFault
            Where the exporter fails, or writes no file.
        """
        source = self.plugins.get("lcf_exporters", name).source
        asked(source, "export", exporter.export, light_curve, path)
        if not path.exists():
            raise fault(source, f"export wrote no {path}")

    def check_star(self, roi: str, light_curve: Table, wanted: str = "") -> list[tuple[str, float]]:
        """Return a check star's name and magnitude for each epoch of a region's light curve.

        Parameters
        ----------
        roi : str
            The region.
        light_curve : Table
            Of the region; its ``frame_id`` and ``zeropoint`` are used.
        wanted : str
            The star's letter; empty: in each instrument and band the steadiest of those in most frames.

        Returns
        -------
        list of (str, float)
            ``"na"`` and nan where there is none.

        Raises
        ------
        LcfError
            Where no reference star is called so.
        """
        zeropoints = [float(getattr(z, "value", z)) for z in light_curve["zeropoint"]]
        frames = [int(getattr(i, "value", i)) for i in light_curve["frame_id"]]
        with self.session() as session:
            at = dict(zip(frames, zeropoints, strict=True))
            found = check_stars(session, roi, at, wanted, self.sequence(), self.config.sequence.radius)
        nothing = CheckStar("na", {})
        stars = [found.get(i, nothing) for i in frames]
        return [(s.name, s.magnitudes.get(i, float("nan"))) for i, s in zip(frames, stars, strict=True)]

    def sequence(self) -> StarSequence | None:
        """Return the AAVSO's sequence that ``[sequence]`` names; None where it names none.

        Raises
        ------
        LcfError
            Where its file can't be read.
        """
        path = self.config.sequence.path
        return read_sequence(resolve_path(path, self.config.directory)) if path else None

    def sequence_names(self) -> dict[str, str]:
        """Return the AAVSO's identifier and label of each reference star that is in the sequence, by its own."""
        sequence = self.sequence()
        if sequence is None:
            return {}
        with self.session() as session:
            stars = session.exec(select(Star).where(Star.active)).all()
        found = sequence.named(stars, self.config.sequence.radius)
        return {star: f"{known.auid} {known.label}".strip() for star, known in found.items()}

    def frames(self) -> Table:
        """Return the table of frames."""
        return self._table(Frame)

    def stars(self) -> Table:
        """Return the table of reference stars, with the number of frames for each verdict on a star.

        Columns are those of ``stars`` and: ``frames``, the number of frames that contain the star; ``usable``, the
        number of those in which it is usable; the number of frames with each verdict (``saturated``, ``edge``,
        ``masked``, ``blended``, ``extended``, ``elongated``, and ``unlike`` where the PSF fit rejected it); and
        ``trouble``, these verdicts and those of the normalization in words.
        """
        table = self._table(Star)
        with self.session() as session:
            records = star_records(session)
        add_verdicts(table, records)
        return table

    def _table(self, model: type[Frame] | type[Star]) -> Table:
        from astropy.table import Table

        with self.session() as session:
            rows = [r.model_dump() for r in session.exec(select(model))]
        if not rows:
            return Table(names=[c.name for c in sa.inspect(model).columns])
        return Table(rows=rows)

    def light_curve(self, roi: str | None = None) -> TimeSeries:
        """Return a region's light curve, one row for each epoch.

        Raises
        ------
        LcfError
            Where the region has none yet.
        """
        return time_series(self.light_curve_table(roi))

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
        table = read_light_curve(self.workdir / FOLDER, name)
        region = self.config.roi[name]
        table.meta.update(ra=region.ra, dec=region.dec)
        table.meta["positions"] = {n: list(p) for n, p in region.point_sources.items()}
        return table

    def lightkurve(self, roi: str | None = None, source: str | None = None) -> Any:
        """Return the light curve of a source as a ``lightkurve.LightCurve``, at barycentric times (TDB).

        Epochs without a flux are left out. Its ``flux`` and ``flux_err`` are in e-/s, and every other number of the
        source or the epochs goes along; bands and instruments are in its ``meta``. :meth:`light_curve` gives an
        ``astropy.timeseries.TimeSeries``.

        Parameters
        ----------
        roi, source : str, optional
            The region, and the point source; the first where they are left out.

        Raises
        ------
        NeedMissing
            Where lightkurve is not installed.
        LcfError
            Where there is no such source, or no light curve yet.
        """
        return lightkurve_of(self.light_curve_table(roi), source)

    def light_curve_tables(
        self,
        *,
        rois: str | Sequence[str] = (),
        bands: str | Sequence[str] = (),
        instruments: str | Sequence[str] = (),
    ) -> dict[str, QTable]:
        """Return the light curves by region name, with the epochs of these bands and instruments; empty: of all.

        Raises
        ------
        UnknownName
            Where the project has no such region, band or instrument.
        LcfError
            Where a region has no light curve yet, or none has such an epoch.
        """
        only = self._only(rois, bands, instruments)
        tables = {name: self.light_curve_table(name) for name in only.rois or self.config.roi}
        for column, names in (("band", only.bands), ("instrument", only.instruments)):
            if names:
                tables = {roi: table[np.isin(table[column], names)] for roi, table in tables.items()}
        kept = {roi: table for roi, table in tables.items() if len(table) or not only}
        if not kept:
            raise LcfError(f"no epoch of {', '.join(tables)} is left by {only}")
        return kept
