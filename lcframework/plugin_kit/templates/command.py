"""A command of ``lcf`` for lcframework."""

from __future__ import annotations

from pathlib import Path

import click

from lcframework.hookspecs import hookimpl


@click.command("plugin_name")
@click.argument("project", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--roi", default=None, help="Only this region.")
def command(project: Path, roi: str | None) -> None:
    """Print the mean magnitude of each source of PROJECT."""
    import numpy as np  # this module is imported when the command is called, and quickly where it only prints --help

    from lcframework import Project
    from lcframework.types import source_names

    # CHECK: replace this by your own work. Errors of the user are click.ClickException or LcfError: no traceback.
    opened = Project.open(project)
    for name in [roi] if roi else opened.config.roi:
        table = opened.light_curve_table(name)
        for source in source_names(table.colnames):
            magnitudes = np.asarray(table[f"{source}_mag"], float)
            click.echo(f"{name} {source}: {np.nanmean(magnitudes):.3f}")


@hookimpl
def lcf_commands() -> dict[str, click.Command]:
    """Offer the command; the entry point is called ``command.plugin_name``."""
    return {"plugin_name": command}
