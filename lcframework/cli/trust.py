"""``lcf trust``, and the question that other commands ask."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lcframework.project import Project
from lcframework.trust import VARIABLE, NotTrusted, allow, forget


@click.command("trust")
@click.argument("project", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--undo", is_flag=True, help="Forget what was allowed.")
def command(project: Path, undo: bool) -> None:
    """Allow the code that PROJECT brings along: its header parser, its local plugins.

    The answer is kept in the workdir and holds until a file changes.
    """
    if undo:
        from lcframework.config.project_file import read_toml, workdir_of

        path = project.resolve()
        number = forget(workdir_of(read_toml(path)[1], path.parent))
        click.echo(f"{number} answers are forgotten." if number else "Nothing was allowed.")
        return
    allowed = 0
    while True:
        try:
            Project.open(project)
        except NotTrusted as refused:
            for code in refused.codes:
                click.echo(f"allowed: {code}")
            allowed += len(refused.codes)
            if not allow(refused.codes, refused.workdir):
                raise click.ClickException(
                    f"the answer can't be kept in {refused.workdir}: put "
                    f"{VARIABLE}={','.join(c.digest for c in refused.codes)} into the environment"
                ) from None
            continue
        break
    if not allowed:
        click.echo("Nothing to allow: the project brings no code, or it is allowed already.")


def ask(refused: NotTrusted) -> bool:
    """Ask on the terminal whether code may run, and keep a yes; without a terminal the answer is no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    click.echo(refused.question, err=True)
    if not click.confirm("It can do all that you can do. Shall it run?", default=False, err=True):
        return False
    if not allow(refused.codes, refused.workdir):
        click.echo(f"{refused.workdir} can't be written: this holds for this command alone.", err=True)
    return True
