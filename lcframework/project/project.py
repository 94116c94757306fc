"""The Python interface: a project file, its runs and its results."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs
from sqlmodel import Session

from lcframework.config.project_file import config_of, plugin_settings, read_toml, workdir_of
from lcframework.config.toolbox import select as select_tools
from lcframework.frames.exclusions import exclude_frames, include_frames
from lcframework.local_plugins import local_plugins
from lcframework.local_plugins.files import local_codes
from lcframework.options import nearest
from lcframework.plugins import Plugins
from lcframework.project.results import ProjectResults
from lcframework.project.state import ProjectState
from lcframework.roi.cutout_selection import check_columns
from lcframework.running.chain import resolve, stage_names
from lcframework.running.checkup import Checkup, mark
from lcframework.running.doubts import record_project_doubts
from lcframework.running.imported_frames import ImportedFrames
from lcframework.running.plugin_notes import record_plugins
from lcframework.running.run_log import logged
from lcframework.running.run_report import RunReport
from lcframework.running.runner import Listener, Runner
from lcframework.settings.deciding import decide, open_settings
from lcframework.settings.records import forget
from lcframework.settings.states import setting_states
from lcframework.storage.connection import failures_in_words, may_exist, upgrade
from lcframework.storage.faults import faults_in_words
from lcframework.trust import check, code_of
from lcframework.types import LcfError

log = logging.getLogger(__name__)


class Project(ProjectState, ProjectResults):
    """A project: its configuration, its stages, and methods to run them and to read the results.

    Examples
    --------
    >>> project = Project.open("project.toml")  # doctest: +SKIP
    >>> project.run(stop="psf_modeling")  # doctest: +SKIP
    >>> project.light_curve("J0248")  # doctest: +SKIP
    """

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
        made = may_exist(config.project.database, config.workdir)
        toolbox = select_tools(config, plugins, partly=made)
        check(code_of(toolbox), workdir, path, trust)
        for special in (config, *toolbox.configs.values()):
            check_columns(special.roi_cutouts.frames, special.roi_cutouts.normalization)
        stages, absent = resolve(toolbox, plugins, partly=made)
        return cls(config, attrs.evolve(toolbox, absent=(*toolbox.absent, *absent)), stages, plugins)

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

    def decide_online(self, stage: str) -> None:
        """Decide what is open before a stage, as far as there are frames, with the network whatever the project says.

        Raises
        ------
        LcfError
            Where a run has locked the workdir.
        """
        self.check_plugins()
        if not may_exist(self.config.project.database, self.workdir):
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
