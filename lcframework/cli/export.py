"""``lcf export``."""

from __future__ import annotations

from pathlib import Path

import click

from lcframework.project import Project
from lcframework.structuring import nearest_key


@click.command("export")
@click.argument("project", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--format", "name", default="ecsv", show_default=True, help="ecsv, votable, aavso, csv, or a plugin's.")
@click.option("--roi", help="One region; all of them if left out.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="A folder; the workdir if left out.")
def command(project: Path, name: str, roi: str | None, output: Path | None) -> None:
    """Write PROJECT's light curves in another format."""
    opened = Project.open(project)
    known = opened.plugins.names("lcf_exporters")
    if name not in known:
        raise click.UsageError(f'no exporter is called "{name}"{nearest_key(name, known)}')
    exporter = opened.plugins.get("lcf_exporters", name).cls()
    folder = output or opened.workdir
    folder.mkdir(parents=True, exist_ok=True)
    for region in [roi] if roi else list(opened.config.roi):
        path = folder / f"{region}.{getattr(exporter, 'suffix', name)}"
        exporter.export(opened.light_curve_table(region), path)
        click.echo(str(path))
