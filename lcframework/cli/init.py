"""``lcf init``."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Any

import click

from lcframework.types import LcfError


@click.command("init")
@click.argument("directory", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--frames", metavar="RAW", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Look at the frames in this folder, and write a project that runs.")  # fmt: skip
@click.option("--pattern", help="Which of its files.  [default: the most frequent ending of FITS files]")
@click.option("--target", metavar="NAME", help="What is observed.  [default: what the headers say]")
@click.option("--ra", type=float, help="Of the target, degrees (ICRS).")
@click.option("--dec", type=float, help="Of the target, degrees.")
@click.option("--latitude", type=float, help="Of the telescope, degrees.  [default: what the headers say]")
@click.option("--longitude", type=float, help="Of the telescope, degrees, east positive.")
@click.option("--elevation", type=float, help="Of the telescope, m.")
@click.option("--pixel-scale", type=float, help="arcsec/pixel, for frames without a WCS.")
@click.option("--stars", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A table of reference stars.  [default: Gaia; without a network Astrometry.net's index files]"
              )  # fmt: skip
@click.option("--columns", metavar="ra=..,dec=..,magnitude=..", help="Its columns, where their names don't tell.")
@click.option("--offline", is_flag=True, help="Don't use the network, now or in runs.")
@click.option("--from-lightcurver", "configuration", metavar="CONFIG.YAML",
              type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Convert a configuration of lightcurver 1.2.")  # fmt: skip
def command(directory: Path, frames: Path | None, configuration: Path | None, **told: Any) -> None:
    """Write a project.toml into DIRECTORY: by a look at frames, to edit, or converted from lightcurver's.

    With --frames, what the frames don't say is asked for, a line each, and nothing is written until it is told.
    """
    path = directory / "project.toml"
    if path.exists():
        raise LcfError(f"{path} exists already; it is left as it is")
    if frames is None and (given := [name for name, value in told.items() if value]):
        raise click.UsageError(f"--{given[0].replace('_', '-')} belongs to --frames RAW")
    if frames is not None and configuration is not None:
        raise click.UsageError("--frames and --from-lightcurver exclude each other")
    if frames is not None:
        _look(directory, frames, told)
        return
    directory.mkdir(parents=True, exist_ok=True)
    if configuration is not None:
        _convert(configuration, path)
        return
    (directory / "raw").mkdir(exist_ok=True)
    path.write_text(resources.files("lcframework.cli").joinpath("project_template.toml").read_text(encoding="utf-8"))
    click.echo(f"{path} is written. Put your frames into {directory / 'raw'}, edit [roi.NAME], then: lcf run {path}")


def _look(directory: Path, frames: Path, told: dict[str, Any]) -> None:
    from lcframework.first_look import Request, draft, write
    from lcframework.plugins import Plugins

    told["columns"] = _columns(told["columns"])
    plugins = Plugins.installed()
    drafted = draft(Request(directory, frames, **told), plugins)
    path = write(drafted, directory, plugins)
    for note in drafted.notes:
        click.echo(note)
    click.echo(f"\n{path} is written, with {drafted.settings} settings:\n")
    for line in drafted.lines:
        click.echo(f"  {line}")
    click.echo(f"\nNext: lcf run {path}")


def _columns(text: str | None) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")] if text else []
    if any(not (name.strip() and column.strip()) for name, _, column in pairs):
        raise click.UsageError(f"--columns {text}: ra=COLUMN,dec=COLUMN,magnitude=COLUMN is needed")
    return {name.strip(): column.strip() for name, _, column in pairs}


def _convert(configuration: Path, path: Path) -> None:
    from lcframework.from_lightcurver import convert
    from lcframework.project import Project
    from lcframework.trust import NotTrusted

    converted = convert(configuration, path.parent)
    path.write_text(converted.text, encoding="utf-8")
    click.echo(f"{path} is written, from {configuration}.")
    for key, text in converted.notes:
        click.echo(f"  {key}: {text}")
    try:
        Project.open(path)
    except NotTrusted:
        pass  # the next command asks
    except LcfError as error:
        click.echo(f"It must be corrected before it can be run:\n{error}", err=True)
        sys.exit(1)
    click.echo(f"The tables of docs/from_lightcurver.md explain each conversion. Next: lcf run {path} --dry-run")
