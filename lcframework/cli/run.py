"""``lcf run``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from lcframework.cli.progress import progress
from lcframework.project import Project
from lcframework.runner import RunReport
from lcframework.structuring import nearest_key

#: So many unusable inputs are listed; `lcf status` has them all.
_LISTED = 20


@click.command("run")
@click.argument("project", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--start", metavar="STAGE", help="First stage.")
@click.option("--stop", metavar="STAGE", help="Last stage.")
@click.option(
    "--force", metavar="STAGE", multiple=True, help="Make this stage's products again, and what rests on them."
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(
    project: Path, start: str | None, stop: str | None, force: tuple[str, ...], dry_run: bool, as_json: bool
) -> None:
    """Run PROJECT's chain; what is up to date is left alone.

    Exit codes: 0 success; 1 failure; 2 usage; 3 finished, but some inputs were unusable.
    """
    opened = Project.open(project)
    for name in (start, stop, *force):
        if name and name not in opened.stage_names:
            raise click.UsageError(f'"{name}" is not a stage{nearest_key(name, opened.stage_names)}')
    if dry_run:
        _plan(opened, start, stop, force, as_json)
        return
    with progress(as_json) as listener:
        report = opened.run(start, stop, force, listeners=[listener])
    if as_json:
        click.echo(json.dumps(as_dict(report, opened), indent=2))
    else:
        tell(report, opened)
    sys.exit(report.exit_code)


def tell(report: RunReport, project: Project) -> None:
    """Print how a run ended."""
    for stage in report.stages:
        if stage.done or stage.unusable or stage.bugs:
            ready = f", {stage.up_to_date} up to date" if stage.up_to_date else ""
            last = f"  ({stage.summaries[-1]})" if len(stage.summaries) == 1 and stage.summaries[0] else ""
            click.echo(f"{stage.name}: {stage.done} done{ready}, {stage.seconds:.1f} s{last}")
    if not report.units_done and report.exit_code in (0, 3):
        click.echo("Nothing to do: all products are up to date.")
    unusable = report.unusable
    if unusable:
        click.echo(f"\n{len(unusable)} inputs can't be used:", err=True)
        for item in unusable[:_LISTED]:
            click.echo(f"  {item.unit} ({item.stage}): {item.reason}", err=True)
        if len(unusable) > _LISTED:
            click.echo(f"  ... and {len(unusable) - _LISTED} more; see `lcf status {project.config.path}`", err=True)
    for bug in report.bugs:
        click.echo(f"\nFailed, a bug: {bug.stage}, {bug.unit}: {bug.reason}", err=True)
    if report.bugs:
        click.echo(f"The traceback is in {project.workdir / 'lcf.log'}; please report it.", err=True)
    if report.interrupted:
        click.echo("\nInterrupted. What was finished is kept; the same command goes on from there.", err=True)
    if report.message:
        click.echo(f"\nStopped: {report.message}", err=True)
    for path in light_curves(project):
        click.echo(f"Light curve: {path}")


def light_curves(project: Project) -> list[Path]:
    """Return the light curves that are there."""
    folder = project.workdir / "prepared_roi_cutouts"
    paths = [folder / f"{roi}_photometry_per_epoch.csv" for roi in project.config.roi]
    return [p for p in paths if p.exists()]


def as_dict(report: RunReport, project: Project) -> dict[str, object]:
    """Return a run's outcome for ``--json``."""
    return {
        "exit_code": report.exit_code,
        "message": report.message,
        "interrupted": report.interrupted,
        "stages": [
            {"name": s.name, "done": s.done, "up_to_date": s.up_to_date, "unusable": len(s.unusable),
             "failed": len(s.bugs), "seconds": round(s.seconds, 3), "missing": s.missing}
            for s in report.stages
        ],
        "unusable": [{"stage": u.stage, "unit": u.unit, "reason": u.reason} for u in report.unusable],
        "failed": [{"stage": u.stage, "unit": u.unit, "reason": u.reason} for u in report.bugs],
        "light_curves": [str(p) for p in light_curves(project)],
    }  # fmt: skip


def _plan(project: Project, start: str | None, stop: str | None, force: tuple[str, ...], as_json: bool) -> None:
    plan = project.plan(start, stop, force)
    if as_json:
        rows = [{"name": s.name, "pending": len(s.pending), "waiting": s.waiting} for s in plan]
        click.echo(json.dumps({"stages": rows}, indent=2))
        return
    for stage in plan:
        more = ", and what earlier stages bring" if stage.waiting else ""
        click.echo(f"{stage.name}: {len(stage.pending)} to do{more}")
