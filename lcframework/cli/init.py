"""``lcf init``."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import click

from lcframework.types import LcfError


@click.command("init")
@click.argument("directory", default=".", type=click.Path(file_okay=False, path_type=Path))
def command(directory: Path) -> None:
    """Write a project.toml to edit into DIRECTORY."""
    path = directory / "project.toml"
    if path.exists():
        raise LcfError(f"{path} exists already; it is left as it is")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "raw").mkdir(exist_ok=True)
    path.write_text(resources.files("lcframework.cli").joinpath("project_template.toml").read_text(encoding="utf-8"))
    click.echo(f"{path} is written. Put your frames into {directory / 'raw'}, edit [roi.NAME], then: lcf run {path}")
