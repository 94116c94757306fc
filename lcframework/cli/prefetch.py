"""``lcf prefetch``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import attrs
import click

from lcframework.prefetch import Prefetched, prefetch
from lcframework.project import Project

#: Exit code where nothing failed, but a run would still need the network.
EXIT_INCOMPLETE = 3


@click.command("prefetch")
@click.argument("project", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(project: Path, as_json: bool) -> None:
    """Make all network queries of PROJECT's run, so that it can run with [run] offline = true.

    Exit codes: 0 all answers are stored; 1 a service did not answer; 3 a query can only be made during a run.
    """
    opened = Project.open(project)
    opened.check_plugins()
    found = prefetch(opened)
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
        click.echo("A run with [run] offline = true would lack the answers marked above.", err=True)
