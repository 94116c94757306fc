"""``lcf why``."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import click

from lcframework.ancestry import Ancestry, Line, trace, understood
from lcframework.cli.filters import usage_errors
from lcframework.project import Project

#: The greatest width of the labels' column; a longer label has a line of its own.
_LABEL = 24
#: Where nobody looks at a terminal, a fact is a line.
_ENDLESS = 100_000


@click.command("why")
@click.argument("project", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("words", nargs=-1, required=True, metavar="[REGION] [SOURCE] FRAME")
@click.option("--full", is_flag=True, help="Also every star, file, fingerprint and option.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(project: Path, words: tuple[str, ...], full: bool, as_json: bool) -> None:
    """Show where one number of PROJECT's light curve comes from; or, where there is none, why.

    REGION may be left out where the project has one, SOURCE where the region has one. FRAME is a frame's id, its name,
    the name of its raw file, or a time (MJD, JD or a date) near it.
    """
    opened = Project.open(project)
    with usage_errors(), opened.session() as session:
        asked = understood(session, opened.config, words)
    found = trace(opened, asked)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2))
    else:
        _print(found, full)


def _print(found: Ancestry, full: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    width = console.width if console.is_terminal else _ENDLESS
    console.print(Text(found.title, style="bold"))
    if found.exists and found.problems:
        console.print(Text(f"Worth a look: {'; '.join(found.problems)}", style="yellow"))
    for section in found.sections:
        lines = [*section.lines, *(section.more if full else ())]
        if not lines:
            continue
        console.print(Text(f"\n{section.title}", style="bold"))
        column = min(_LABEL, max(len(line.label) for line in lines))
        before = ""
        for line in lines:
            label = "" if line.label == before else line.label
            before = line.label
            indent = " " * (column + 4)
            wrapped = textwrap.wrap(line.text, width, initial_indent=indent, subsequent_indent=indent,
                                    break_long_words=False, break_on_hyphens=False)  # fmt: skip
            text = "\n".join(wrapped)[len(indent) :]
            if len(label) > column:
                console.print(Text(f"  {label}", style="dim"))
                console.print(Text(indent + text, style=_style(line)))
            else:
                console.print(Text.assemble((f"  {label:<{column}}  ", "dim"), (text, _style(line))))


def _style(line: Line) -> str:
    return "yellow" if line.problem else ""
