"""``lcf demo``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from lcframework.cli.progress import progress
from lcframework.cli.run import light_curves, print_report
from lcframework.project import Project
from lcframework.report import draw, write_report
from lcframework.testing.campaign import evaluate_light_curves, simulate_campaign
from lcframework.types import LcfError


@click.command("demo")
@click.argument("directory", default="demo", type=click.Path(file_okay=False, path_type=Path))
@click.option("--frames", default=12, show_default=True, type=click.IntRange(2), help="How many frames to simulate.")
@click.option("--seed", default=1, show_default=True, help="Random seed of the simulated sky.")
def command(directory: Path, frames: int, seed: int) -> None:
    """Simulate a campaign of a lensed quasar in DIRECTORY, and run all stages on it, offline."""
    started = time.monotonic()
    project_file = directory / "project.toml"
    if project_file.exists():
        click.echo(f"{directory} already contains a campaign: continuing with it")
    else:
        if directory.exists() and any(directory.iterdir()):
            raise LcfError(f"{directory} is not empty; name another folder")
        click.echo(f"Simulating {frames} frames of a lensed quasar in {directory} ...")
        simulate_campaign(directory, seed=seed, frames=frames)
    project = Project.open(project_file)
    with progress() as listener:
        report = project.run(listeners=[listener])
    print_report(report, project)
    curves = light_curves(project)
    if not curves:
        sys.exit(report.exit_code or 1)
    region = next(iter(project.config.roi))
    table = evaluate_light_curves(directory, project.light_curve_table(region))
    click.echo("\nRecovered against the truth, per source (bound: what a perfect model would scatter):")
    click.echo("\n".join(table.pformat(max_lines=-1, max_width=-1)))
    draw(project, workers=project.config.run.workers)
    page = write_report(project)
    click.echo(f"\nLight curve: {curves[0]}")
    click.echo(f"Plots:       {project.workdir / 'plots'}")
    click.echo(f"Report:      {page}")
    click.echo(f"Done in {time.monotonic() - started:.0f} s.")
    sys.exit(report.exit_code)
