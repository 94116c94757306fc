"""What ``lcf run`` and ``lcf status`` report of doubts: the worst first, each cause once."""

from __future__ import annotations

from collections.abc import Sequence

import click

from lcframework.project import Project
from lcframework.types import Severity

#: The version of what `lcf run --json` and `lcf status --json` print; docs/data_at_rest.md describes it.
JSON_FORMAT = 1
_TITLES = {Severity.SERIOUS: "Serious", Severity.DOUBT: "Doubt", Severity.NOTE: "Note"}


def print_doubts(project: Project, **only: Sequence[str]) -> None:
    """Print a project's doubts where errors go, within the filter of the options `only`."""
    for cause in project.doubts(**only):
        click.echo(f"{_TITLES[cause.severity]}: {cause.sentence}", err=True)
