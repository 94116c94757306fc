"""The commands that plugins add: found by their metadata alone, and loaded when they are called."""

from __future__ import annotations

from collections.abc import Container
from importlib import metadata

import click

from lcframework.entry_points import COMMAND_PREFIX, entry_points, origin_of, switched_off


def plugin_commands(built_in: Container[str]) -> dict[str, metadata.EntryPoint]:
    """Return the commands of plugins by their names; only metadata are read, nothing is imported.

    Parameters
    ----------
    built_in : container of str
        Names of lcframework's own commands, which no plugin can have.
    """
    found: dict[str, metadata.EntryPoint] = {}
    for name, point in _points():
        if name not in built_in and name not in found:
            found[name] = point
    return found


def _points() -> list[tuple[str, metadata.EntryPoint]]:
    """Return the commands that nobody switched off by their names; of several with one name all."""
    points = (p for p in entry_points() if p.name.startswith(COMMAND_PREFIX))
    return [(p.name.removeprefix(COMMAND_PREFIX), p) for p in points if not switched_off(p.name, origin_of(p))]


def load(name: str, point: metadata.EntryPoint) -> click.Command:
    """Import a command.

    Raises
    ------
    click.ClickException
        Says what is wrong with it.
    """
    who = f"the command {name} of {origin_of(point)}"
    try:
        commands = dict(point.load().lcf_commands())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit: a module that leaves Python when it is imported
        raise click.ClickException(f"{who} does not load: {type(error).__name__}: {error}") from None
    if name not in commands:
        there = ", ".join(commands) or "none"
        raise click.ClickException(
            f"{who}: lcf_commands gives no command {name}, which the entry point names; it gives {there}"
        )
    command = commands[name]
    if not isinstance(command, click.Command):
        raise click.ClickException(f"{who} is a {type(command).__name__}; lcf_commands must give a click command")
    return command


def examined(built_in: Container[str]) -> list[tuple[str, metadata.EntryPoint, str]]:
    """Return the commands of plugins, each with what is wrong with it; empty where nothing is. All are imported."""
    rows, seen = [], set()
    for name, point in _points():
        problem = ""
        if name in built_in:
            problem = f"lcf {name} is lcframework's own command: give the entry point another name than {point.name}"
        elif name in seen:
            problem = f"another package has a command {name} too, which is called: rename one of them"
        else:
            try:
                load(name, point)
            except click.ClickException as error:
                problem = error.message
        seen.add(name)
        rows.append((name, point, problem))
    return rows
