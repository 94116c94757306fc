"""What ``lcf run`` and ``lcf status`` report of doubts: the worst first, each cause once."""

from __future__ import annotations

import click

from lcframework.project import Project
from lcframework.types import Severity

#: The version of what `lcf run --json` and `lcf status --json` print; docs/data_at_rest.md describes it.
JSON_FORMAT = 1
_TITLES = {Severity.SERIOUS: "Serious", Severity.DOUBT: "Doubt", Severity.NOTE: "Note"}


def print_doubts(project: Project) -> None:
    """Print a project's doubts where errors go."""
    for cause in project.doubts():
        click.echo(f"{_TITLES[cause.severity]}: {cause.sentence}", err=True)
