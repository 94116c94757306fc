"""``lcf export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import tomli

from lcframework.cli.filters import filters, usage_errors
from lcframework.config.structuring import nearest_or_allowed
from lcframework.project import Project
from lcframework.protocols import HasSuffix


@click.command("export")
@click.argument("project", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--format", "name", default="ecsv", show_default=True, help="ecsv, votable, aavso, csv, or a plugin's.")
@filters("Write epochs")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="A folder; the workdir if left out.")
@click.option("-o", "--option", "pairs", multiple=True, metavar="KEY=VALUE", help="An option of the exporter.")
def command(project: Path, name: str, output: Path | None, pairs: tuple[str, ...], **only: tuple[str, ...]) -> None:
    """Write PROJECT's light curves in another format."""
    opened = Project.open(project)
    known = opened.plugins.names("lcf_exporters")
    if name not in known:
        raise click.UsageError(f'no exporter is called "{name}"{nearest_or_allowed(name, known)}')
    exporter = opened.exporter(name, dict(_pair(p) for p in pairs))
    folder = output or opened.workdir
    with usage_errors():
        tables = opened.light_curve_tables(**only)
    folder.mkdir(parents=True, exist_ok=True)
    for region, table in tables.items():
        ending = exporter.suffix if isinstance(exporter, HasSuffix) else name
        path = folder / f"{region}.{ending}"
        wanted = getattr(exporter, "check_star", None)
        if wanted is not None:
            table.meta["check_star"] = opened.check_star(region, table, wanted)
        opened.export(name, exporter, table, path)
        click.echo(str(path))


def _pair(text: str) -> tuple[str, Any]:
    """Return an option and its value, which is parsed as TOML where possible, and is a text otherwise."""
    option, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--option {text}: write KEY=VALUE")
    try:
        return option.strip(), tomli.loads(f"value = {value}")["value"]
    except tomli.TOMLDecodeError:
        return option.strip(), value.strip()
