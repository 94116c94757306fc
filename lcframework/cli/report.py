"""``lcf report``."""

from __future__ import annotations

from pathlib import Path

import click

from lcframework.project import Project
from lcframework.report import draw, write_report


@click.command("report")
@click.argument("project", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--plots/--no-plots", default=True, help="Also draw the diagnostic plots that are out of date.")
def command(project: Path, plots: bool) -> None:
    """Draw PROJECT's diagnostic plots and write its HTML report."""
    opened = Project.open(project)
    if plots:
        drawn = draw(opened, workers=opened.config.run.workers)
        click.echo(f"Plots: {opened.workdir / 'plots'} ({len(drawn)} drawn)")
    click.echo(f"Report: {write_report(opened)}")
