"""``lcf watch``."""

from __future__ import annotations

import contextlib
import datetime as dt
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import click

from lcframework.cli.export import check_format, exporter_option
from lcframework.cli.watch_lines import as_json, as_lines, summary, summary_json
from lcframework.exporting import export_files
from lcframework.project import Project
from lcframework.watching.batches import After, Export
from lcframework.watching.times import moment_of, seconds_of
from lcframework.watching.watcher import News, Plan, Watcher

#: A stop is noticed after so many seconds.
_NAP = 0.3


def _duration(ctx: click.Context, option: click.Parameter, value: str | None) -> float | None:
    """Return seconds, which were written as 90, 90s, 10min or 1.5h."""
    try:
        return None if value is None else seconds_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _moment(ctx: click.Context, option: click.Parameter, value: str | None) -> dt.datetime | None:
    """Return a time of day, or a date and time, as a moment with a time zone."""
    try:
        return None if value is None else moment_of(value, dt.datetime.now().astimezone())
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _wait(name: str, default: str | None, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option of a duration."""
    return click.option(name, callback=_duration, default=default, show_default=True, metavar="DURATION", help=text)


class StopSignals:
    """Notes the first SIGINT or SIGTERM; the second ends the process at once, which loses nothing."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note a signal."""
        self.asked = True
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Receive the signals inside."""
        before = {each: signal.signal(each, self) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def pause(self, seconds: float) -> None:
        """Wait for so many seconds, or until a signal comes."""
        end = time.monotonic() + seconds
        while not self.asked and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _NAP))


@click.command("watch")
@click.argument("project", type=click.Path(dir_okay=False, path_type=Path))
@_wait("--interval", "5s", "From one look at the folders to the next.")
@_wait("--settle", "5s", "How long a file must not change before it is taken.")
@_wait("--patience", "2min", "After how long without a change a file that is not whole counts as broken.")
@click.option(
    "--first", type=click.IntRange(1), default=3, show_default=True, help="Begin a project with so many frames."
)
@click.option(
    "--until", callback=_moment, metavar="TIME", help="Stop then: 06:30, or 2026-01-31T06:30, with Z for UTC."
)
@_wait("--idle", None, "Stop after so long without new frames.")
@click.option(
    "--export", "formats", metavar="FORMAT", multiple=True, help="Also write the light curves so; may be repeated."
)
@click.option("-o", "--option", "pairs", multiple=True, metavar="FORMAT.KEY=VALUE", help="An option of an exporter.")
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="The exports' folder; the workdir if left out."
)
@click.option("--report/--no-report", default=True, help="Write the HTML report after each batch.")
@click.option("--plots", is_flag=True, help="Also draw the diagnostic plots after each batch.")
@click.option("--json", "json_lines", is_flag=True, help="Print a JSON object a line.")
def command(
    project: Path, interval: float, settle: float, patience: float, first: int,
    until: dt.datetime | None, idle: float | None, formats: tuple[str, ...], pairs: tuple[str, ...],
    output: Path | None, report: bool, plots: bool, json_lines: bool,
) -> None:  # fmt: skip
    """Run PROJECT as its frames arrive; light curves, report and exports follow each of them.

    SIGINT (Ctrl-C) and SIGTERM end it once the unit of work in hand is finished, a second one at once. The same command
    goes on from there.

    Exit codes: 0 ended by a signal, --until or --idle; 1 failure, also where work is left undone at --until or --idle;
    2 usage.
    """
    opened = Project.open(project)
    opened.check_plugins()
    exports = {name: _export(name, pairs, output) for name in _checked(opened, formats, pairs)}
    signals = StopSignals()

    def tell(news: News) -> None:
        for line in [as_json(news)] if json_lines else as_lines(news):
            click.echo(line)
        sys.stdout.flush()

    plan = Plan(interval, settle, max(patience, settle), first, until, idle or 0.0)
    after = After(report, plots, exports)
    with signals.installed():
        ended = Watcher(opened.config.path, plan, after, tell, signals.pause, lambda: signals.asked).watch()
    click.echo(summary_json(ended) if json_lines else summary(ended))
    sys.exit(1 if ended.unfinished and ended.ending != "signal" else 0)


def _checked(opened: Project, formats: tuple[str, ...], pairs: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of exporters, which must exist, with options of theirs alone."""
    for name in formats:
        check_format(opened, name)
    for pair in pairs:
        if pair.partition(".")[0] not in formats:
            raise click.UsageError(f"--option {pair}: write FORMAT.KEY=VALUE, with a FORMAT that --export names")
    return tuple(dict.fromkeys(formats))


def _export(name: str, pairs: tuple[str, ...], output: Path | None) -> Export:
    """Return a function that writes all light curves in a format."""
    options = dict(exporter_option(pair.partition(".")[2]) for pair in pairs if pair.startswith(f"{name}."))

    def write(opened: Project) -> None:
        exporter = opened.exporter(name, options)
        export_files(opened, name, exporter, opened.light_curve_tables(), output or opened.workdir)

    return write
