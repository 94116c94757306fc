"""``lcf settings``."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import click

from lcframework.cli.doubts import JSON_FORMAT
from lcframework.project import Project
from lcframework.settings.deciding import shown
from lcframework.settings.states import SettingState


@click.command("settings")
@click.argument("project", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--again", multiple=True, metavar="SETTING", help="Decide this setting anew in the next run.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(project: Path, again: tuple[str, ...], as_json: bool) -> None:
    """Show what PROJECT's frames decided about settings that the project file leaves open, and why."""
    opened = Project.open(project)
    if again:
        count = opened.decide_again(again)
        click.echo(f"{count} decision{'s' if count != 1 else ''} forgotten; `lcf run` decides anew")
        return
    states = opened.settings()
    if as_json:
        found = [attrs.asdict(s) for s in states]
        click.echo(json.dumps({"format": JSON_FORMAT, "settings": found}, indent=2, default=str))
        return
    for state in states:
        click.echo(_line(state))
        doubts = [f"Doubt: {text}" for text in (state.doubt, state.disagreement) if text]
        for text in filter(None, (state.why, state.alternatives, *doubts)):
            click.echo(f"    {text}")


def _line(state: SettingState) -> str:
    whose = f" ({state.instrument})" if state.instrument else ""
    value = "not decided yet" if state.value is None else shown(state.value)
    by = {"frames": "frames", "project file": "project file", "documentation": "as documented"}[state.by]
    if state.by == "frames":
        rest = "frozen" if state.frozen else f"provisional until there are {state.wanted}"
        by = f"by {state.frames} frame{'s' if state.frames != 1 else ''}, {rest}"
    return f"{state.setting}{whose} = {value}  [{by}]"
