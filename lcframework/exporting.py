"""Light curves in the formats of other programs, and checks of such files before they are sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from lcframework.plugins import Plugins, asked
from lcframework.project import Project
from lcframework.protocols import ChecksFiles, HasSuffix, SplitsFiles
from lcframework.types import FileFault, LcfError, UnusableInput

if TYPE_CHECKING:
    from astropy.table import Table

_HOOK = "lcf_exporters"


@attrs.frozen
class CheckedFile:
    """A file that was checked.

    Attributes
    ----------
    path : Path
        The file.
    format : str
        The name of the exporter that checked it.
    faults : sequence of FileFault
        What is wrong in it.
    """

    path: Path
    format: str
    faults: Sequence[FileFault]


def export_files(project: Project, name: str, exporter: Any, tables: Mapping[str, Table], folder: Path) -> list[Path]:
    """Write light curves in the format of an exporter, and return the paths.

    Parameters
    ----------
    project : Project
        The project of the light curves.
    name : str
        The exporter's name.
    exporter : Exporter
        The answer of :meth:`lcframework.Project.exporter`.
    tables : mapping
        The light curves by region, or those of a region's comparison stars by another name.
    folder : Path
        Is made where it does not exist. Files are called ``<name>.<suffix>``, unless the exporter names them.

    Raises
    ------
    UnusableInput
        Where the format can't say what a light curve holds; the others are written before.
    PluginFault
        Where the exporter fails.
    """
    source = project.plugins.get(_HOOK, name).source
    folder.mkdir(parents=True, exist_ok=True)
    written, refused = [], []
    wanted = getattr(exporter, "check_star", None)
    sequence = project.sequence() if wanted is not None else None
    for region, table in tables.items():
        if wanted is not None:
            table.meta["check_star"] = project.check_star(table.meta.get("region", region), table, wanted)
            table.meta["chart"] = sequence.chart if sequence is not None else ""
        try:
            if isinstance(exporter, SplitsFiles):
                parts = asked(source, "files", exporter.files, table)
            else:
                parts = {f"{region}.{exporter.suffix if isinstance(exporter, HasSuffix) else name}": table}
            for file, part in parts.items():
                project.export(name, exporter, part, folder / file)
                written.append(folder / file)
        except UnusableInput as refusal:
            refused.append(f"{region}: {refusal}")
    if refused:
        raise UnusableInput("; ".join(refused))
    return written


def check_file(plugins: Plugins, path: Path, name: str = "") -> CheckedFile:
    """Return what is wrong in a file of a light curve.

    Parameters
    ----------
    plugins : Plugins
        Whose exporters are asked.
    path : Path
        The file.
    name : str
        Its format; empty: that of the one exporter that recognises the file.

    Raises
    ------
    LcfError
        Where there is no such file, none or several exporters recognise it, or the named one checks no files.
    """
    if not path.is_file():
        raise LcfError(f"{path}: there is no such file")
    able = {o.name: (o.source, o.cls) for o in plugins.offers(_HOOK) if issubclass(o.cls, ChecksFiles)}
    known = ", ".join(sorted(able))
    if not name:
        mine = [n for n, (source, cls) in able.items() if asked(source, "recognises", cls().recognises, path)]
        if not mine:
            raise LcfError(f"{path}: of no format that is known here; name it by --format. Known: {known}")
        if len(mine) > 1:
            raise LcfError(f"{path}: may be of the formats {', '.join(sorted(mine))}; name one by --format")
        name = mine[0]
    if name not in able:
        raise LcfError(f'no exporter called "{name}" checks files; these do: {known}')
    source, cls = able[name]
    return CheckedFile(path, name, asked(source, "faults", cls().faults, path))
