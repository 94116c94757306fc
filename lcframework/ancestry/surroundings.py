"""What all numbers of a project share beside the database: its files, and how its settings stand; each is read once."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from lcframework.ancestry.published import Published
from lcframework.frames.raw_folders import find_files
from lcframework.project import Project
from lcframework.provenance import file_digest
from lcframework.running.frame_status import left_out
from lcframework.settings.states import SettingState
from lcframework.stages.prepare_calibrated_cutouts import PrepareCalibratedCutouts as Prepare
from lcframework.storage.queries import frame_rows
from lcframework.storage.tables import Frame, NormalizationCoefficient, Product, PsfRow
from lcframework.types import LcfError
from lcframework.work import RegionGroupKey


class Surroundings:
    """The files and settings of a project.

    Parameters
    ----------
    project : Project
        The project.
    session : Session
        One of :meth:`Project.session`, open while the surroundings are used.
    """

    def __init__(self, project: Project, session: Session) -> None:
        self.project, self._session = project, session
        self.published = Published(project.workdir)
        self._left_out: dict[RegionGroupKey, Mapping[int, str]] = {}
        self._digests: dict[tuple[str, bool], str | None] = {}

    @functools.cached_property
    def raw_files(self) -> Mapping[str, Sequence[Path]]:
        """The files that lie in the folders of raw files, by name; none where a folder is away."""
        found: dict[str, list[Path]] = {}
        with contextlib.suppress(LcfError, OSError):
            for path in find_files(self.project.config):
                found.setdefault(path.name, []).append(path)
        return found

    @functools.cached_property
    def project_file(self) -> str:
        """The text of the project file; empty where it can't be read."""
        with contextlib.suppress(OSError):
            return self.project.config.path.read_text(encoding="utf-8")
        return ""

    @functools.cached_property
    def decisions(self) -> Sequence[SettingState]:
        """How every setting that frames can decide stands."""
        return self.project.settings()

    def digest_now(self, exposure: Any, contents: bool) -> str | None:
        """Return the digest that a calibration file has now, looked at once; None where it is away.

        Parameters
        ----------
        exposure : row of ``exposures``
            The file.
        contents : bool
            Whether to read it also where size and time are as recorded.
        """
        asked = (exposure.path, contents)
        if asked not in self._digests:
            self._digests[asked] = _digest_now(self.project.config.directory / exposure.path, exposure, contents)
        return self._digests[asked]

    def left_out(self, field: str, key: RegionGroupKey) -> Mapping[int, str]:
        """Return by frame why selections leave frames of a group out of the light curve."""
        if key not in self._left_out:
            psfs, coefficients = (
                self._session.exec(select(t).where(t.combined_footprint_hash == field)).all()
                for t in (PsfRow, NormalizationCoefficient)
            )
            prepared = self._session.get(Product, (Prepare.name, str(key)))
            measured = self.published.cutouts(prepared.path if prepared is not None else "").index
            frames = frame_rows(self._session, col(Frame.instrument) == key.instrument, col(Frame.band) == key.band)
            self._left_out[key] = left_out(frames, coefficients, psfs, measured, self.project.toolbox.config_for)
        return self._left_out[key]


def _digest_now(path: Path, exposure: Any, contents: bool) -> str | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    as_recorded = (stat.st_size, stat.st_mtime_ns) == (exposure.size, exposure.mtime_ns)
    return str(exposure.digest) if as_recorded and not contents else file_digest(path)
