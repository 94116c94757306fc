"""``lcf inject``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lcframework.cli.doubts import JSON_FORMAT
from lcframework.cli.progress import progress
from lcframework.options import nearest
from lcframework.project import Project
from lcframework.roi.injected import MILLIMAGNITUDES, InjectionOutcome, Summary, injection_doubts
from lcframework.types import Doubt

if TYPE_CHECKING:
    from lcframework.injections.injecting import Injected


@click.command("inject")
@click.argument("project", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--roi", metavar="NAME", default="", help="The region whose measuring is tested; the first by default.")
@click.option("-n", "--number", default=100, show_default=True, type=click.IntRange(4), help="How many are drawn.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Of the places and the noise.")
@click.option(
    "--magnitudes",
    metavar="MAG,MAG,...",
    help="Of what is drawn; by default six, from the target's down to below the limit of detection.",
)
@click.option(
    "--frames",
    default=40,
    show_default=True,
    type=click.IntRange(0),
    help="Draw in no more frames of each instrument and band, evenly in time; 0: in all.",
)
@click.option("--keep", is_flag=True, help="Keep the scratch copy of the workdir, in injections/scratch.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(
    project: Path,
    roi: str,
    number: int,
    seed: int,
    magnitudes: str | None,
    frames: int,
    keep: bool,
    as_json: bool,
) -> None:
    """Draw sources of known light curves in PROJECT's raw frames, measure them, and compare.

    All stages measure them as they do the target, in a scratch copy of the workdir: nothing of the project is changed.
    A quarter are twins of the target, as bright and as blended. The tables and a plot are written to the workdir's
    folder injections/, and `lcf report` shows them.
    """
    from lcframework.injections.injecting import Wanted, inject
    from lcframework.report.plots.injections import write_plot

    opened = Project.open(project)
    if roi and roi not in opened.config.roi:
        raise click.UsageError(f'there is no region "{roi}"{nearest(roi, opened.config.roi)}')
    name = roi or next(iter(opened.config.roi))
    wanted = Wanted(name, number, seed, _numbers(magnitudes), frames, keep)
    with progress(as_json) as listener:
        out = inject(opened, wanted, [listener])
    plot = write_plot(out.summary, name, out.path)
    doubts = list(injection_doubts(name, out.summary))
    if as_json:
        click.echo(json.dumps(_as_dict(out, name, seed, plot, doubts), indent=2))
    else:
        _print(out, name, plot, doubts)


def _numbers(text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise click.UsageError(
            f'--magnitudes takes numbers separated by commas, such as 18,19.5,21; got "{text}"'
        ) from None


def _as_dict(out: Injected, roi: str, seed: int, plot: Path, doubts: Iterable[Doubt]) -> dict[str, Any]:
    return {
        "format": JSON_FORMAT, "roi": roi, "seed": seed, "asked": out.asked, "placed": out.placed, "frames": out.frames,
        "not_drawn": list(out.not_drawn), "seconds": round(out.seconds, 1), "table": str(out.path), "plot": str(plot),
        "scratch": str(out.scratch) if out.scratch else None, **out.summary.as_json(),
        "doubts": [{"kind": d.kind, "severity": d.severity.value, "text": d.text, "value": d.value} for d in doubts],
    }  # fmt: skip


def _print(out: Injected, roi: str, plot: Path, doubts: Iterable[Doubt]) -> None:
    """Print what came of the sources."""
    few = f" ({out.asked} were asked for: there is room for no more)" if out.placed < out.asked else ""
    click.echo(f"{out.placed} injections about {roi}{few} in {out.frames} frames, measured in {out.seconds:.0f} s")
    if out.not_drawn:
        click.echo(f"Nothing could be drawn in {len(out.not_drawn)} frames; of the first: {out.not_drawn[0]}")
    several = len(list(out.summary.of_groups())) > 1
    click.echo("\nBy brightness (mmag; pull: scatter about the truth over the stated error, which is 1 if it is true)")
    _outcomes(out.summary.by_brightness, several)
    if out.summary.by_seeing:
        click.echo("\nBy seeing")
        _outcomes(out.summary.by_seeing, several)
    _limits(out.summary, several)
    click.echo("")
    found = False
    for doubt in doubts:
        found = True
        click.echo(f"{doubt.severity.value}: {doubt.text}")
    if not found:
        click.echo("Nothing of it speaks against the stated errors.")
    click.echo(f"\nTable: {out.path}\nPlot:  {plot}")
    if out.scratch:
        click.echo(f"Scratch copy: {out.scratch}")


def _outcomes(outcomes: Iterable[InjectionOutcome], several: bool) -> None:
    head = f"{'mag':>7} {'sources':>7} {'epochs':>6} {'bias':>8} {'+-':>6} {'scatter':>8} {'stated':>7} {'pull':>5} "
    click.echo(f"{head}{'+-':>5} {'epochs':>6} {'of fit':>6} {'found':>6} {'lost':>5}")
    for o in outcomes:
        name = o.level if not o.level.isdigit() else ""
        group = f" {o.instrument} {o.band}" if several else ""
        bias, error, scatter, stated = (v * MILLIMAGNITUDES for v in (o.bias, o.bias_error, o.scatter, o.stated))
        click.echo(
            f"{o.magnitude:>7.2f} {o.sources:>7} {o.epochs:>6} {bias:>8.1f} {error:>6.1f} {scatter:>8.1f} "
            f"{stated:>7.1f} {o.pull:>5.2f} {o.pull_error:>5.2f} {o.pull_epochs:>6.2f} {o.pull_fit:>6.2f} "
            f"{o.complete:>6.0%} {o.lost:>5.0%}  {name}{group}".rstrip()
        )


def _limits(summary: Summary, several: bool) -> None:
    for instrument, band, group in summary.of_groups():
        found = sorted(v for limit in group.limits if (v := limit.magnitude) == v)
        stated = sorted(v for limit in group.limits if (v := limit.stated_magnitude) == v)
        whose = f" of {instrument} {band}" if several else ""
        if stated:
            epochs = len(group.limits)
            text = f"\nLimit of 5 sigma{whose}, median of {epochs} epochs: stated {stated[len(stated) // 2]:.2f} mag"
            if found:
                text += (
                    f", by the scatter of faint sources {found[len(found) // 2]:.2f} mag ({found[0]:.2f} to "
                    f"{found[-1]:.2f})"
                )
            click.echo(text)
