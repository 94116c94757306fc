"""Writes the project file and its tables: all of it, or nothing."""

from __future__ import annotations

from pathlib import Path

from lcframework.first_look.drafting import Draft
from lcframework.plugins import Plugins
from lcframework.project import Project
from lcframework.types import LcfError

PROJECT = "project.toml"


def write(draft: Draft, directory: Path, plugins: Plugins) -> Path:
    """Write a drafted project, once it can be opened; return the project file.

    Raises
    ------
    LcfError
        Where one of the files exists, or the project can't be opened: then nothing is left behind.
    """
    for name in (PROJECT, *draft.tables):
        if (directory / name).exists():
            raise LcfError(f"{directory / name} exists already; it is left as it is")
    made = [p for p in (directory, *directory.parents) if not p.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    try:
        for name, table in draft.tables.items():
            written.append(directory / name)
            table.write(directory / name, format="ascii.ecsv")
        part = directory / f"{PROJECT}.part"
        written.append(part)
        part.write_text("\n".join(draft.lines) + "\n", encoding="utf-8")
        Project.open(part, plugins)
        part.rename(directory / PROJECT)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        for folder in made:
            folder.rmdir()
        raise
    return directory / PROJECT
