"""``lcf clean``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import attrs
import click

from lcframework.cli.doubts import JSON_FORMAT
from lcframework.project import Project
from lcframework.storage.unreferenced import Leftover, find_unreferenced, remove
from lcframework.types import LcfError


@click.command("clean")
@click.argument("project", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Remove without asking.")
@click.option("--dry-run", is_flag=True, help="List the files, and remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON; nothing is asked.")
def command(project: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Remove the files in PROJECT's workdir that lcframework made and that nothing refers to any more.

    These are products of earlier settings and what killed runs left. They are listed with their sizes first.
    """
    opened = Project.open(project)
    if not opened.workdir.is_dir():
        raise LcfError(f"there is no workdir {opened.workdir} to clean")
    with opened.hold():
        with opened.session() as session:
            found = find_unreferenced(session, opened.workdir)
        agreed = bool(found) and not dry_run and (yes or (not as_json and _agreed(found)))
        if agreed:
            remove(opened.workdir, found)
    total = sum(leftover.size for leftover in found)
    if as_json:
        files = [attrs.asdict(leftover) for leftover in found]
        click.echo(json.dumps({"format": JSON_FORMAT, "files": files, "bytes": total, "removed": agreed}, indent=2))
    elif not found:
        click.echo("Nothing to remove.")
    else:
        if yes or dry_run:
            _list(found)
        click.echo(f"{_count(found)}, {_size(total)}: {'removed' if agreed else 'nothing is removed'}")


def _agreed(found: list[Leftover]) -> bool:
    """List the files and ask; without a terminal the answer is no."""
    _list(found)
    if not sys.stdin.isatty():
        click.echo("To remove them without being asked: --yes")
        return False
    return click.confirm(f"Remove {_count(found)}, {_size(sum(leftover.size for leftover in found))}?")


def _list(found: list[Leftover]) -> None:
    for leftover in found:
        click.echo(f"{_size(leftover.size):>10}  {leftover.path}  ({leftover.why})")


def _count(found: list[Leftover]) -> str:
    return f"{len(found)} file{'s' if len(found) != 1 else ''}"


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
