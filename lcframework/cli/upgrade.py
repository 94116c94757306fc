"""``lcf upgrade``."""

from __future__ import annotations

from pathlib import Path

import click

from lcframework.project import Project


@click.command("upgrade")
@click.argument("project", type=click.Path(dir_okay=False, path_type=Path))
def command(project: Path) -> None:
    """Migrate the database of PROJECT from an earlier version, as a run does; a copy of it is kept."""
    done = Project.open(project).upgrade()
    click.echo(f"{done[0].upper()}{done[1:]}." if done else "Nothing to do: the database is up to date.")
