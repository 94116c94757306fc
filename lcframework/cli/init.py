"""``lcf init``."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

import click

from lcframework.types import LcfError


@click.command("init")
@click.argument("directory", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--from-lightcurver", "configuration", metavar="CONFIG.YAML",
              type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Convert a configuration of lightcurver 1.2.")  # fmt: skip
def command(directory: Path, configuration: Path | None) -> None:
    """Write a project.toml to edit into DIRECTORY, or one converted from lightcurver's configuration."""
    path = directory / "project.toml"
    if path.exists():
        raise LcfError(f"{path} exists already; it is left as it is")
    directory.mkdir(parents=True, exist_ok=True)
    if configuration is not None:
        _convert(configuration, path)
        return
    (directory / "raw").mkdir(exist_ok=True)
    path.write_text(resources.files("lcframework.cli").joinpath("project_template.toml").read_text(encoding="utf-8"))
    click.echo(f"{path} is written. Put your frames into {directory / 'raw'}, edit [roi.NAME], then: lcf run {path}")


def _convert(configuration: Path, path: Path) -> None:
    from lcframework.from_lightcurver import convert
    from lcframework.project import Project

    converted = convert(configuration, path.parent)
    path.write_text(converted.text, encoding="utf-8")
    click.echo(f"{path} is written, from {configuration}.")
    for key, text in converted.notes:
        click.echo(f"  {key}: {text}")
    try:
        Project.open(path)
    except LcfError as error:
        click.echo(f"It must be corrected before it can be run:\n{error}", err=True)
        sys.exit(1)
    click.echo(f"The tables of docs/from_lightcurver.md explain each conversion. Next: lcf run {path} --dry-run")
