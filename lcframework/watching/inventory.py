"""What lies in the folders that a project watches, and as what the project knows it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import attrs
from sqlmodel import select

from lcframework.frames.raw_folders import find_files
from lcframework.frames.reduction import calibration_files
from lcframework.project import Project
from lcframework.storage.tables import Frame, RawExposure
from lcframework.watching.arrivals import Stamp


@attrs.frozen
class Known:
    """The files that a project has read, each with its size and time of then.

    Attributes
    ----------
    frames, calibrations : dict of Path to Stamp
        The raw frames, and the calibration frames.
    imported : int
        How many frames are imported.
    """

    frames: dict[Path, Stamp]
    calibrations: dict[Path, Stamp]
    imported: int

    @property
    def stamps(self) -> dict[Path, Stamp]:
        """All files."""
        return {**self.calibrations, **self.frames}


def known_files(project: Project) -> Known:
    """Return the files that the project's database has."""
    with project.session() as session:
        frames = session.exec(
            select(Frame.original_image_path, Frame.raw_size, Frame.raw_mtime_ns, Frame.image_relpath)
        ).all()
        exposures = session.exec(
            select(RawExposure.path, RawExposure.size, RawExposure.mtime_ns).where(RawExposure.role == "calibration")
        ).all()
    return Known(
        {Path(path): (size, changed) for path, size, changed, _ in frames},
        {Path(path): (size, changed) for path, size, changed in exposures},
        sum(image is not None for *_, image in frames),
    )


def files_there(project: Project, known: Known) -> tuple[dict[Path, Stamp], dict[Path, Stamp]]:
    """Return the raw frames and the calibration frames that are there, with their sizes and times.

    Raises
    ------
    NeedMissing
        Where a folder is away of which frames are known.
    LcfError
        Where a folder is missing.
    """
    toolbox = project.toolbox
    frames = find_files(project.config, [str(path) for path in known.frames])
    calibrations: set[Path] = set()
    for name in ("", *toolbox.configs):
        if toolbox.tool("reduction", name) is not None:
            calibrations.update(calibration_files(toolbox.config_for(name)).values())
    return _stamps(frames), _stamps(calibrations)


def _stamps(paths: Iterable[Path]) -> dict[Path, Stamp]:
    found: dict[Path, Stamp] = {}
    for path in paths:
        try:
            stat = path.stat()
        except OSError:
            continue  # it went away after it was listed
        found[path] = (stat.st_size, stat.st_mtime_ns)
    return found
