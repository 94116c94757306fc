"""``lcf run``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import attrs
import click

from lcframework.cli.doubts import JSON_FORMAT, print_doubts
from lcframework.cli.filters import filters, usage_errors
from lcframework.cli.progress import progress
from lcframework.cli.unusable import by_reason
from lcframework.config.structuring import nearest_or_allowed
from lcframework.project import Project
from lcframework.roi.cutout_files import FOLDER
from lcframework.roi.light_curves import table_name
from lcframework.running.doubts import as_json
from lcframework.running.project_status import StageStatus
from lcframework.running.run_log import LOG_FILE
from lcframework.running.run_report import RunReport

#: The number of reasons why inputs are unusable that are printed; `lcf status` lists all.
_LISTED = 20


@click.command("run")
@click.argument("project", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--start", metavar="STAGE", help="First stage.")
@click.option("--stop", metavar="STAGE", help="Last stage.")
@click.option(
    "--force", metavar="STAGE", multiple=True, help="Make this stage's products again, and all that depend on them."
)
@filters("Work on products")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--trace-plugins", "trace", is_flag=True, help="Show who answered which call, and how long it took.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(
    project: Path,
    start: str | None,
    stop: str | None,
    force: tuple[str, ...],
    dry_run: bool,
    trace: bool,
    as_json: bool,
    **only: tuple[str, ...],
) -> None:
    """Run all stages of PROJECT; products that are up to date are kept.

    With --roi, --band or --instrument, other products are not changed.

    Exit codes: 0 success; 1 failure; 2 usage; 3 finished, but some inputs were unusable.
    """
    opened = Project.open(project)
    opened.check_plugins()
    for name in (start, stop, *force):
        if name and name not in opened.stage_names:
            raise click.UsageError(f'"{name}" is not a stage{nearest_or_allowed(name, opened.stage_names)}')
    if dry_run:
        with usage_errors():
            plan = opened.plan(start, stop, force, **only)
        _print_plan(plan, as_json)
        return
    with usage_errors(), progress(as_json) as listener:
        report = opened.run(start, stop, force, listeners=[listener], **only)
    if as_json:
        calls = {"plugin_calls": [attrs.asdict(row) for row in report.calls.rows]} if trace else {}
        click.echo(json.dumps({**as_dict(report, opened), **calls}, indent=2))
    else:
        print_report(report, opened)
        if trace:
            _print_calls(report)
    sys.exit(report.exit_code)


def print_report(report: RunReport, project: Project) -> None:
    """Print the results of a run, its errors, and the paths of the light curves."""
    if report.upgraded:
        click.echo(f"Upgraded: {report.upgraded}.")
    for stage in report.stages:
        if stage.done or stage.unusable or stage.bugs:
            ready = f", {stage.up_to_date} up to date" if stage.up_to_date else ""
            told = [text for text in stage.summaries if text]
            last = f"  ({told[0]})" if len(told) == 1 else ""
            click.echo(f"{stage.name}: {stage.done} done{ready}, {stage.seconds:.1f} s{last}")
    tried = any(stage.unusable for stage in report.stages)
    if not report.units_done and not tried and report.exit_code in (0, 3):
        click.echo(f"Nothing to do: all products{f' of {report.only}' if report.only else ''} are up to date.")
    left_out = [f"{s.name} {s.left_out}" for s in report.stages if s.left_out]
    if left_out:
        click.echo(f"Left out by {report.only}: {', '.join(left_out)}, and what rests on them.")
    _unusable(report, project)
    _storage(report)
    bugs = by_reason([(b.stage, b.unit, b.reason) for b in report.bugs])
    for line in bugs[:_LISTED]:
        click.echo(f"\nFailed, a bug: {line}", err=True)
    if len(bugs) > _LISTED:
        click.echo(f"\n... and {len(bugs) - _LISTED} other bugs", err=True)
    broken = [s for s in report.stages if s.broken]
    for stage in broken:
        click.echo(f"\nFailed, a bug of a plugin: {stage.name}: {stage.broken}", err=True)
    if report.bugs or broken:
        click.echo(f"The traceback is in {project.workdir / LOG_FILE}; please report it.", err=True)
    if report.interrupted:
        click.echo("\nInterrupted. What was finished is kept; the same command goes on from there.", err=True)
    if report.message:
        click.echo(f"\nStopped: {report.message}", err=True)
    print_doubts(project, **attrs.asdict(report.only))
    for path in light_curves(project):
        click.echo(f"Light curve: {path}")


def _print_calls(report: RunReport) -> None:
    """Print who answered which call, and how long it took."""
    click.echo("\nCalls of plugins (answered: other than that it has none)")
    click.echo(f"{'calls':>6} {'answered':>8} {'failed':>6} {'seconds':>9} {'longest':>9}  what")
    for row in report.calls.rows:
        slowest = f"; longest: {row.slowest}" if row.slowest and row.calls > 1 else ""
        click.echo(
            f"{row.calls:>6} {row.answered:>8} {row.failed:>6} {row.seconds:>9.4f} {row.longest:>9.4f}  "
            f"{row.stage}: {row.plugin}: {row.method}{slowest}"
        )


def _unusable(report: RunReport, project: Project) -> None:
    """Print what can't be used: a line a reason, however many inputs share it."""
    if not report.unusable:
        return
    click.echo(f"\n{len(report.unusable)} inputs can't be used:", err=True)
    lines = by_reason([(u.stage, u.unit, u.reason) for u in report.unusable])
    for line in lines[:_LISTED]:
        click.echo(f"  {line}", err=True)
    if len(lines) > _LISTED:
        click.echo(f"  ... and {len(lines) - _LISTED} other reasons", err=True)
    if len(lines) < len(report.unusable) or len(lines) > _LISTED:
        click.echo(f"  `lcf status {project.config.path}` lists them all.", err=True)


def _storage(report: RunReport) -> None:
    """Print which products were damaged, and which files could not be read."""
    if report.repaired:
        click.echo(f"\n{len(report.repaired)} products were missing or damaged:", err=True)
        for text in report.repaired[:_LISTED]:
            click.echo(f"  {text}", err=True)
        if len(report.repaired) > _LISTED:
            click.echo(f"  ... and {len(report.repaired) - _LISTED} others; lcf.log has them all", err=True)
    if report.not_read:
        click.echo(f"\n{len(report.not_read)} inputs could not be read; the next run tries again:", err=True)
        for line in by_reason([(u.stage, u.unit, u.reason) for u in report.not_read])[:_LISTED]:
            click.echo(f"  {line}", err=True)


def light_curves(project: Project) -> list[Path]:
    """Return the paths of the existing light curves."""
    folder = project.workdir / FOLDER
    paths = [folder / table_name(roi, "csv") for roi in project.config.roi]
    return [p for p in paths if p.exists()]


def as_dict(report: RunReport, project: Project) -> dict[str, object]:
    """Return the results of a run for ``--json``."""
    return {
        "format": JSON_FORMAT,
        "exit_code": report.exit_code,
        "message": report.message,
        "upgraded": report.upgraded,
        "interrupted": report.interrupted,
        "only": {"roi": report.only.rois, "band": report.only.bands, "instrument": report.only.instruments},
        "stages": [
            {"name": s.name, "done": s.done, "up_to_date": s.up_to_date, "left_out": s.left_out,
             "unusable": len(s.unusable), "failed": len(s.bugs), "broken": s.broken, "seconds": round(s.seconds, 3),
             "missing": s.missing}
            for s in report.stages
        ],
        "unusable": [{"stage": u.stage, "unit": u.unit, "reason": u.reason} for u in report.unusable],
        "not_read": [{"stage": u.stage, "unit": u.unit, "reason": u.reason} for u in report.not_read],
        "repaired": report.repaired,
        "failed": [{"stage": u.stage, "unit": u.unit, "reason": u.reason} for u in report.bugs],
        "light_curves": [str(p) for p in light_curves(project)],
        "doubts": as_json(project.doubts(**attrs.asdict(report.only))),
    }  # fmt: skip


def _print_plan(plan: list[StageStatus], as_json: bool) -> None:
    if as_json:
        rows = [{"name": s.name, "pending": len(s.pending), "waiting": s.waiting, "left_out": s.left_out} for s in plan]
        click.echo(json.dumps({"stages": rows}, indent=2))
        return
    for stage in plan:
        more = ", and what earlier stages bring" if stage.waiting else ""
        less = f", {stage.left_out} left out" if stage.left_out else ""
        click.echo(f"{stage.name}: {len(stage.pending)} to do{less}{more}")
