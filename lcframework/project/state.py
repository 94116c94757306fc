"""How a project stands: what is made, what is pending, decided, doubtful or damaged; all of it only reads."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import sqlalchemy as sa
from sqlmodel import Session

from lcframework.project.database import ProjectDatabase
from lcframework.running.chain import between, limited, position
from lcframework.running.checkup import Checkup, check_project
from lcframework.running.doubts import Cause, causes
from lcframework.running.project_status import StageStatus, Status, planned, project_status
from lcframework.running.recorded_status import recorded_status
from lcframework.settings.states import SettingState, setting_states
from lcframework.storage.connection import may_exist, open_for_reading
from lcframework.types import LcfError, NeedMissing
from lcframework.work import Stage


class ProjectState(ProjectDatabase):
    """The state of a project."""

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

    def checkup(self) -> Checkup | None:
        """Check the files of all products, and the database; nothing is written.

        Returns
        -------
        Checkup, optional
            None where nothing has run yet.
        """
        url = self.config.project.database
        if not may_exist(url, self.workdir):
            return None
        try:
            with self._connected(open_for_reading(url, self.workdir)) as engine, Session(engine) as session:
                return check_project(session, self.workdir)
        except (LcfError, sa.exc.DatabaseError) as error:
            return Checkup(0, {}, 0, (f"the database can't be read: {getattr(error, 'orig', None) or error}",))

    def _between(self, start: str | None, stop: str | None, force: Sequence[str]) -> list[Stage]:
        stages = between(self.stages, start, stop)
        for name in force:
            position(self.stage_names, name)
            if name not in [s.name for s in stages]:
                raise LcfError(f"{name} is to be forced, but it does not lie between the first and the last stage")
        return stages
