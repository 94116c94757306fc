"""``lcf export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import tomli

from lcframework.cli.filters import filters, usage_errors
from lcframework.comparison_curves import comparison_table
from lcframework.config.structuring import nearest_or_allowed
from lcframework.exporting import check_file, export_files
from lcframework.plugins import Plugins
from lcframework.project import Project
from lcframework.types import LcfError


@click.command("export")
@click.argument("project", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--format", "name", help="ecsv, fits, votable, aavso, pycs or another that `lcf plugins` lists.  [ecsv]")
@filters("Write epochs")
@click.option("--stars", is_flag=True, help="Write the comparison stars' light curves instead, as REGION_stars.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="A folder; the workdir if left out.")
@click.option("-o", "--option", "pairs", multiple=True, metavar="KEY=VALUE", help="An option of the exporter.")
@click.option("--check", "files", multiple=True, metavar="FILE", help="Write nothing: say what is wrong in this file.")
def command(
    project: Path | None,
    name: str | None,
    stars: bool,
    output: Path | None,
    pairs: tuple[str, ...],
    files: tuple[str, ...],
    **only: tuple[str, ...],
) -> None:
    """Write PROJECT's light curves in another format; or check such files before they are sent."""
    if files:
        if project is not None or stars or output is not None or pairs or any(only.values()):
            raise click.UsageError("--check takes files, and --format beside it: leave out the rest")
        _check([Path(file) for file in files], name or "")
        return
    if project is None:
        raise click.UsageError("name the project file, or a file to check by --check")
    name = name or "ecsv"
    opened = Project.open(project)
    check_format(opened, name)
    exporter = opened.exporter(name, dict(exporter_option(p) for p in pairs))
    with usage_errors():
        tables = opened.light_curve_tables(**only)
    if stars:
        with opened.session() as session:
            tables = {f"{roi}_stars": comparison_table(session, table) for roi, table in tables.items()}
    for path in export_files(opened, name, exporter, tables, output or opened.workdir):
        click.echo(str(path))


def check_format(opened: Project, name: str) -> None:
    """Refuse a format that no exporter writes."""
    known = opened.plugins.names("lcf_exporters")
    if name not in known:
        raise click.UsageError(f'no exporter is called "{name}"{nearest_or_allowed(name, known)}')


def _check(files: list[Path], name: str) -> None:
    plugins, wrong = Plugins.installed(), 0
    for path in files:
        checked = check_file(plugins, path, name)
        wrong += len(checked.faults)
        for fault in checked.faults:
            click.echo(f"{path}: {fault}")
        if not checked.faults:
            click.echo(f"{path}: nothing is wrong ({checked.format})")
    if wrong:
        raise LcfError(f"{wrong} fault{'s' if wrong > 1 else ''} found; nothing was changed")


def exporter_option(text: str) -> tuple[str, Any]:
    """Return an option and its value, which is parsed as TOML where possible, and is a text otherwise."""
    option, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--option {text}: write KEY=VALUE")
    try:
        return option.strip(), tomli.loads(f"value = {value}")["value"]
    except tomli.TOMLDecodeError:
        return option.strip(), value.strip()
