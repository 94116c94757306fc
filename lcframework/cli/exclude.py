"""``lcf exclude``."""

from __future__ import annotations

from pathlib import Path

import click

from lcframework.project import Project


@click.command("exclude")
@click.argument("project", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("frames", nargs=-1, required=True, metavar="FRAME...")
@click.option("--why", default="", help="The reason, kept with the frame.")
@click.option("--undo", is_flag=True, help="Undo an earlier exclusion of the frames.")
def command(project: Path, frames: tuple[str, ...], why: str, undo: bool) -> None:
    """Exclude FRAMEs, given by file name, from PROJECT; the next run does not use them."""
    if not undo and not why:
        raise click.UsageError('give the reason: --why "clouds"; or --undo to include the frames again')
    count = Project.open(project).exclude(frames, why, undo)
    click.echo(
        f"{count} frame{'s' if count != 1 else ''} {'taken back in' if undo else 'excluded'}; `lcf run` comes next"
    )
