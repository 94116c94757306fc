"""``lcf prefetch``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import attrs
import click

from lcframework.prefetch import Prefetched, prefetch
from lcframework.project import Project

#: Something is left that the network is needed for, though nothing failed.
EXIT_INCOMPLETE = 3


@click.command("prefetch")
@click.argument("project", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(project: Path, as_json: bool) -> None:
    """Ask for all that PROJECT's run needs of the network; then it runs with [run] offline = true.

    Exit codes: 0 all is stored; 1 a service gave no answer; 3 something can't be asked for ahead of a run.
    """
    found = prefetch(Project.open(project))
    code = 1 if any(a.state == "failed" for a in found.answers) else 0 if found.complete else EXIT_INCOMPLETE
    if as_json:
        rows = [attrs.asdict(a) for a in found.answers]
        click.echo(json.dumps({"complete": found.complete, "cache": str(found.cache), "answers": rows}, indent=2))
    else:
        _print_answers(found)
    sys.exit(code)


def _print_answers(found: Prefetched) -> None:
    for answer in found.answers:
        rows = f", {answer.rows} rows" if answer.state in ("fetched", "stored", "local") else ""
        click.echo(f"{answer.state:<10} {answer.plugin}: {answer.what}{rows}")
        if answer.reason:
            click.echo(f"{'':<10} {answer.reason}")
    if found.complete:
        click.echo(f"A run with [run] offline = true finds all answers (in {found.cache}).")
    else:
        click.echo("A run with [run] offline = true would lack what is said above.", err=True)
