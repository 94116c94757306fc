"""What every method of a project needs: its settings and tools, and its database."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from lcframework.config.project_file import Config
from lcframework.config.structuring import Problem
from lcframework.config.toolbox import Toolbox
from lcframework.frames.exclusions import IMPORT
from lcframework.plugins import Plugins, unmet
from lcframework.settings.deciding import settled
from lcframework.storage.connection import failures_in_words, open_engine, open_for_reading
from lcframework.storage.lock import hold
from lcframework.storage.reading import hold_still
from lcframework.storage.tables import Frame
from lcframework.work import Filter, Ledger, Stage
from lcframework.work.scopes import UnknownName, check_names


class ProjectDatabase:
    """A project's settings, tools and stages, and ways to its database."""

    def __init__(self, config: Config, toolbox: Toolbox, stages: list[Stage], plugins: Plugins) -> None:
        self.config, self.toolbox, self.stages, self.plugins = config, toolbox, stages, plugins
        self._engine: Engine | None = None
        self._by_file = toolbox  # without what frames decided

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
