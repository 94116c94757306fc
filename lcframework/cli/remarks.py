"""What ``lcf run`` and ``lcf status`` say beside the outcome: settings and files that have no effect."""

from __future__ import annotations

import click

from lcframework.project import Project


def tell_remarks(project: Project) -> None:
    """Print a project's remarks where errors go."""
    for remark in project.remarks():
        click.echo(f"Note: {remark}", err=True)
