"""``lcf status``."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click

from lcframework.cli.doubts import JSON_FORMAT, print_doubts
from lcframework.cli.filters import filters, usage_errors
from lcframework.cli.unusable import of_the_first
from lcframework.project import Project
from lcframework.running import doubts
from lcframework.running.frame_status import FrameState
from lcframework.running.project_status import Status
from lcframework.storage.faults import NOT_READ
from lcframework.work.keys import FrameKey
from lcframework.work.reasons import first_names, grouped

#: The number of different reasons that are listed for a stage; units with equal reasons are counted.
_EXPLAINED = 8
#: The number of stars that are listed, in the order of their letters: the nearest to the region first.
_STARS_LISTED = 25
#: Up to this many files with the same reason have a line each.
_FILES_LISTED = 5


@click.command("status")
@click.argument("project", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--why", is_flag=True, help="For each pending unit, what changed.")
@click.option("--all", "every", is_flag=True, help="A line a file, however many share a reason.")
@filters("Report on products")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(project: Path, why: bool, every: bool, as_json: bool, **only: tuple[str, ...]) -> None:
    """Show the state of PROJECT's stages and of every file that was found."""
    opened = Project.open(project)
    with usage_errors():
        status = opened.status(**only)
    absent = [*opened.absent, *([status.away] if status.away else [])]
    if as_json:
        found = {"absent": absent, **as_dict(status), "doubts": doubts.as_json(opened.doubts(**only))}
        click.echo(json.dumps({"format": JSON_FORMAT, **found}, indent=2))
        return
    width = max(len(s.name) for s in status.stages)
    click.echo(f"{'stage':<{width}}  made  unusable  pending")
    for s in status.stages:
        more = "  + what earlier stages bring" if s.waiting else ""
        pending = "?" if absent or s.broken else str(len(s.pending))
        click.echo(f"{s.name:<{width}}  {s.made:>4}  {s.unusable:>8}  {pending:>7}{more}")
        if s.broken:
            click.echo(f"{'':<{width}}  FAILED: {s.broken}")
    if absent:
        able = "" if status.away else ", and nothing can be run"
        click.echo(f"\nThis is what was recorded. What is out of date can't be told{able}, because:")
        for sentence in absent:
            click.echo(f"  {sentence}")
    if why:
        _why(status)
    counts = Counter(f.state for f in status.frames)
    click.echo(
        f"\n{len(status.frames)} files: " + (", ".join(f"{n} {k}" for k, n in counts.most_common()) or "none found")
    )
    _files(status, every)
    _stars(status)
    others = [u for u in status.unusable if FrameKey.parse(u[1]) is None]
    for stage, unit, reason in others:
        click.echo(f"  {unit} ({stage}): {reason}")
    print_doubts(opened, **only)


def _files(status: Status, every: bool) -> None:
    """Print the files that take no part, and why: a line a file, or one for many with the same reason."""
    commented = [
        (f.state, f.file, f.comment)
        for f in status.frames
        if f.comment and (f.state is not FrameState.FOUND or f.comment.startswith(NOT_READ))
    ]
    for state, same in grouped(commented):
        if every or len(same) <= _FILES_LISTED:
            for name, comment in same:
                click.echo(f"  {name}: {state}: {comment}")
        else:
            names = first_names([name for name, _ in same])
            click.echo(f"  {len(same)} files ({names}): {state}{of_the_first(same)}: {same[0][1]}")
            click.echo("    --all has a line for each")


def _stars(status: Status) -> None:
    """Print how many reference stars are usable, and why others are not."""
    seen = [s for s in status.stars if s.frames]
    if not seen:
        return
    whole = sum(s.usable == s.frames and not s.left_out for s in seen)
    never = sum(not s.usable or bool(s.left_out) for s in seen)
    partly = len(seen) - whole - never
    states = f"{whole} usable throughout, {partly} in a part of their frames, {never} not used"
    click.echo(f"\n{len(seen)} reference stars: {states}")
    listed = [s for s in seen if s.trouble]
    for star in listed[:_STARS_LISTED]:
        click.echo(f"  star {star.name}: {star.trouble}")
    if len(listed) > _STARS_LISTED:
        click.echo(f"  ... and {len(listed) - _STARS_LISTED} other stars; --json and the report have them all")


def _why(status: Status) -> None:
    for stage in status.stages:
        if not stage.pending:
            continue
        click.echo(f"\n{stage.name}: {len(stage.pending)} pending")
        reasons = Counter(u.why for u in stage.pending)
        for reason, count in reasons.most_common(_EXPLAINED):
            first = next(u.label for u in stage.pending if u.why == reason)
            who = first if count == 1 else f"{count} units ({first}, ...)"
            click.echo(f"  {who}: {'; '.join(reason)}")
        if len(reasons) > _EXPLAINED:
            click.echo(f"  ... and {len(reasons) - _EXPLAINED} other reasons; --json has them all")


def as_dict(status: Status) -> dict[str, object]:
    """Return a status for ``--json``."""
    return {
        "stages": [
            {"name": s.name, "made": s.made, "unusable": s.unusable, "waiting": s.waiting,
             "broken": s.broken,
             "pending": [{"unit": u.unit, "label": u.label, "why": list(u.why)} for u in s.pending]}
            for s in status.stages
        ],
        "frames": [{"file": f.file, "state": f.state, "comment": f.comment} for f in status.frames],
        "unusable": [{"stage": s, "unit": u, "reason": r} for s, u, r in status.unusable],
        "stars": [
            {"name": s.name, "gaia_id": s.gaia_id, "frames": s.frames, "usable": s.usable, "verdicts": dict(s.verdicts),
             "left_out": s.left_out, "note": s.note}
            for s in status.stars
        ],
    }  # fmt: skip
