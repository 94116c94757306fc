"""``lcf doctor``: checks this machine, and advises how to fix problems."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

if TYPE_CHECKING:
    from lcframework.project import Project
    from lcframework.running.checkup import Checkup

_PACKAGES = ("numpy", "astropy", "jax", "starred-astro", "sep", "astroscrappy", "h5py", "sqlmodel")
_SERVICES = (("Gaia archive", "gea.esac.esa.int"), ("VizieR", "tapvizier.cds.unistra.fr"))


#: The number of damaged files that are named.
_LISTED = 20


@attrs.frozen
class Finding:
    """The result of one check; `mark` is ``ok``, ``note`` (works with limits), ``missing`` or ``damaged``."""

    mark: str
    what: str
    advice: str = ""


@click.command("doctor")
@click.argument("project", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--offline", is_flag=True, help="Don't try the network.")
def command(project: Path | None, offline: bool) -> None:
    """Check this machine; with PROJECT also the products in its workdir and its database.

    Products that are missing or damaged are marked, so that the next run makes them again.

    Exit code 1 where something needed is missing, or anything of PROJECT is damaged.
    """
    checks: list[Callable[[], Iterator[Finding]]] = [software, device, solver, plugins, lambda: write_access(project)]
    if project is not None:
        checks.append(lambda: products(project))
    if not offline:
        checks.append(network)
    findings = [finding for check in checks for finding in check()]
    for finding in findings:
        click.echo(f"{finding.mark:<8} {finding.what}")
        if finding.advice:
            click.echo(f"{'':<8} -> {finding.advice}")
    sys.exit(1 if any(f.mark in ("missing", "damaged") for f in findings) else 0)


def software() -> Iterator[Finding]:
    """Report Python and the libraries that results depend on."""
    yield Finding("ok", f"Python {platform.python_version()}, {os.cpu_count()} cores")
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            yield Finding("missing", f"the package {name}", f"pip install {name}")
    yield Finding("ok", ", ".join(found))


def device() -> Iterator[Finding]:
    """Report the accelerator that JAX sees."""
    try:
        import jax

        devices = jax.devices()
    except Exception as error:  # a broken driver may raise anything
        yield Finding("missing", f"JAX finds no device: {error}", "set JAX_PLATFORMS=cpu, or mend the driver")
        return
    kinds = ", ".join(sorted({d.device_kind for d in devices}))
    if devices[0].platform == "gpu":
        yield Finding("ok", f"GPU: {kinds}")
    else:
        yield Finding(
            "note", f"no GPU ({kinds}): fits run on the CPU", 'with an NVIDIA card: pip install "jax[cuda12]"'
        )


def solver() -> Iterator[Finding]:
    """Report Astrometry.net and its index files."""
    from lcframework.first_look.index_stars import index_folders

    path = shutil.which("solve-field")
    if path is None:
        yield Finding("note", "no solve-field: frames must be plate solved, or use another solver",
                      "Debian, Ubuntu: apt install astrometry.net astrometry-data-tycho2")  # fmt: skip
        return
    yield Finding("ok", f"solve-field: {path}")
    folders = [str(folder) for folder in index_folders()]
    files = [p for folder in folders for p in Path(folder).glob("index-*.fits")]
    if files:
        yield Finding("ok", f"{len(files)} index files in {', '.join(folders)}")
    else:
        yield Finding("note", f"no index files in {', '.join(folders) or 'any configured folder'}",
                      "apt install astrometry-data-tycho2 for fields over 20 arcmin")  # fmt: skip


def plugins() -> Iterator[Finding]:
    """Report plugins that are broken."""
    from lcframework.plugins import Plugins

    found = Plugins.installed().plugins
    broken = [p for p in found if p.problems]
    yield Finding("ok", f"{len(found) - len(broken)} plugins are healthy")
    for plugin in broken:
        yield Finding("note", f"the plugin {plugin.name} ({plugin.origin}) is broken: {plugin.problems[0]}")


def write_access(project: Path | None) -> Iterator[Finding]:
    """Report whether products can be written."""
    folder = Path.cwd()
    if project is not None:
        from lcframework.config.project_file import read_toml, workdir_of

        folder = workdir_of(read_toml(project)[1], project.resolve().parent)
    while not folder.exists():
        folder = folder.parent
    if os.access(folder, os.W_OK):
        free = shutil.disk_usage(folder).free / 2**30
        yield Finding("ok", f"{folder} can be written, {free:.0f} GiB free")
    else:
        yield Finding("missing", f"{folder} can't be written", "set [project] workdir to a folder of yours")


def products(path: Path) -> Iterator[Finding]:
    """Report whether a project's products are as they were written, and whether its database is whole."""
    from lcframework.project import Project

    project = Project.open(path)
    checkup = project.checkup()
    if checkup is None:
        yield Finding("note", "the project has no database yet", f"lcf run {path}")
        return
    note = f"; {checkup.without_digest} of an earlier version, without digest" if checkup.without_digest else ""
    whole = checkup.files - len(checkup.damaged)
    yield Finding("ok", f"{whole} of {checkup.files} files of products are as they were written{note}")
    for file, why in list(checkup.damaged.items())[:_LISTED]:
        yield Finding("damaged", f"{file}: {why}")
    if len(checkup.damaged) > _LISTED:
        yield Finding("damaged", f"... and {len(checkup.damaged) - _LISTED} other files")
    if checkup.damaged:
        yield Finding("note", "raw files are not touched", mend(project, checkup))
    for what in checkup.database:
        yield Finding("damaged", what, "put back a copy of the database, or set another [project] workdir and run: "
                      "everything is then made again from the raw files")  # fmt: skip
    if not checkup.database:
        yield Finding("ok", "the database is whole")


def mend(project: Project, checkup: Checkup) -> str:
    """Have the next run make damaged products again, and return what the user does."""
    from lcframework.types import LcfError

    try:
        lost = project.mark_damaged(checkup)
    except LcfError as error:
        return f"nothing is marked: {error}"
    except OSError as error:
        return f"nothing is marked, because the workdir can't be written: {error.strerror}"
    more = f"; {lost} files belong to no product that is known: `lcf run --force STAGE` makes them" if lost else ""
    return f"`lcf run {project.config.path}` makes them again, and what rests on them{more}"


def network() -> Iterator[Finding]:
    """Report which services answer."""
    for name, host in _SERVICES:
        try:
            with socket.create_connection((host, 443), timeout=3):
                yield Finding("ok", f"{name} answers")
        except OSError as error:
            yield Finding("note", f"{name} ({host}) does not answer: {error}",
                          "local catalogues work without: [stars] plugin = \"file\"")  # fmt: skip
