"""``lcf headers``."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import click

from lcframework.config.toolbox import Toolbox
from lcframework.header_doctor import FileReading, InstrumentFiles, default_parsers, examine
from lcframework.plugins import Plugins
from lcframework.sky.ephemerides import Site
from lcframework.types.json_values import json_value

#: The number of files that are listed; --all lists all files.
_NAMED = 5
#: Exit code where a file was not understood.
EXIT_UNUSABLE = 3


@click.command("headers")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--pattern", default=None, help="Which files.  [default: *.fits, or the project's]")
@click.option("--project", type=click.Path(dir_okay=False, path_type=Path), help="Take HDUs and parsers from its file.")
@click.option("--no-gain", is_flag=True, help="Don't measure the gain: no image is read.")
@click.option("--all", "every", is_flag=True, help="Print one line for each file.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(
    directory: Path, pattern: str | None, project: Path | None, no_gain: bool, every: bool, as_json: bool
) -> None:  # fmt: skip
    """Show what the header parsers read from the FITS files in DIRECTORY, and what is missing or doubtful.

    Exit codes: 0 every file was understood; 3 some were not.
    """
    if project is None:
        plugins = Plugins.installed()
        settings, parsers, sky = None, default_parsers(plugins, directory.resolve()), None
    else:
        from lcframework.project import Project

        opened = Project.open(project)
        opened.check_plugins()
        plugins = opened.plugins
        settings, parsers, sky = opened.config.frames, opened.toolbox.all("header"), partial(_sky, opened.toolbox)
    pattern = pattern or (settings.pattern if settings else "*.fits")
    groups = examine(directory.resolve(), pattern, parsers, settings, measure=not no_gain, sky=sky, plugins=plugins)
    if as_json:
        click.echo(json.dumps({"groups": [as_dict(g) for g in groups]}, indent=2))
    else:
        click.echo(f"{sum(len(g.files) for g in groups)} files; parsers asked: {', '.join(p.name for p in parsers)}")
        for group in groups:
            _print_group(group, every)
        if any(group.unknown for group in groups):
            some = "" if pattern == "*.fits" else f' --pattern "{pattern}"'
            click.echo(f"\n`lcf plugins new header NAME --frames {directory}{some}` writes a parser of its own.")
    sys.exit(EXIT_UNUSABLE if any(f.info is None for g in groups for f in g.files) else 0)


def _sky(toolbox: Toolbox, instrument: str) -> tuple[Site | None, list[tuple[float, float]]]:
    """Return the site of a project's telescope (None: unknown), and the positions of regions that stay, degrees."""
    t = toolbox.config_for(instrument).telescope
    site = Site(t.latitude, t.longitude, t.elevation) if t else None
    return site, [(r.ra, r.dec) for name, r in toolbox.config.roi.items() if toolbox.ephemeris(name) is None]


def _print_group(group: InstrumentFiles, every: bool) -> None:
    click.echo(f"\n{group.instrument}: {len(group.files)} files")
    for quantity, counts in group.values.items():
        shown = [f"{v} ({n})" if len(counts) > 1 else v for v, n in list(counts.items())[:_NAMED]]
        more = f", ... {len(counts)} values" if len(counts) > _NAMED else ""
        click.echo(f"  {quantity:<15} {', '.join(shown)}{more}")
    known = sorted(f.info.mjd_mid for f in group.files if f.info)
    if known:
        click.echo(f"  {'mjd':<15} {known[0]:.6f} to {known[-1]:.6f} (mid-exposure, UTC)")
    for quantity, consequence in group.missing.items():
        click.echo(f"  {'missing':<15} {quantity}: {consequence}")
    for reason, count in group.reasons.items():
        click.echo(f"  {'not understood':<15} {count} files: {reason}")
    for doubt, count in group.doubts.items():
        click.echo(f"  {'doubts':<15} {doubt}  ({count} file{'s' if count > 1 else ''})")
    if group.gain_verdict:
        click.echo(f"  {'measured gain':<15} {group.gain_verdict}")
    if group.airmass_verdict:
        click.echo(f"  {'airmass':<15} {group.airmass_verdict}")
    if group.wcs:
        click.echo(f"  {'wcs':<15} {group.wcs}")
    _print_times(group)
    for number, line in enumerate(group.paste):
        click.echo(f"  {'' if number else 'to paste':<15} {line}")
    if every:
        for f in group.files:
            click.echo(f"    {_line(f)}")


def _print_times(group: InstrumentFiles) -> None:
    times = group.times
    for text in times.moments:
        click.echo(f"  {'times':<15} {text}")
    for key, (low, high) in times.others.items():
        span = f"{low:+.3f} s" if high - low < 1e-3 else f"{low:+.3f} to {high:+.3f} s"
        same = abs(low) < 1e-3 and abs(high) < 1e-3
        check = "CHECK: " if key in times.astray else ""
        click.echo(f"  {'':<15} {check}{key} is {'the same time' if same else f'{span} from it'}")
    if times.without:
        click.echo(f"  {'missing times':<15} {len(times.without)} files: {_some(times.without)}")
    if times.duplicates:
        equal = f", {times.identical} of them with equal contents" if times.identical else ""
        click.echo(f"  {'same times':<15} {len(times.duplicates)} sets of files{equal}: {_some(times.duplicates[0])}")
    if times.overlaps:
        click.echo(
            f"  {'overlaps':<15} {len(times.overlaps)} exposures begin before the one before has ended (rounded "
            f"times, or a wrong exposure time): {' and '.join(times.overlaps[0])}"
        )


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _line(f: FileReading) -> str:
    if f.info is None:
        return f"{f.path.name}  {f.reason}"
    i = f.info
    return f"{f.path.name}  {f.parser}  {i.exptime:g} s  {i.gain:g}  {i.mjd_mid:.6f} ({i.time_source})  {i.band}"


def as_dict(group: InstrumentFiles) -> dict[str, Any]:
    """Return a group for ``--json``; unknown values are None."""
    files = []
    for f in group.files:
        info = attrs.asdict(f.info) if f.info else {}
        info |= {"mjd_start": f.info.mjd_start, "mjd_mid": f.info.mjd_mid} if f.info else {}
        files.append({"file": f.path.name, "parser": f.parser or None, "reason": f.reason, **info})
    answer: dict[str, Any] = json_value(
        {"instrument": group.instrument, "values": group.values, "missing": group.missing, "reasons": group.reasons,
         "doubts": group.doubts,
         "gain": attrs.asdict(group.gain) if group.gain else None, "gain_verdict": group.gain_verdict,
         "airmass_verdict": group.airmass_verdict, "wcs": group.wcs,
         "paste": list(group.paste), "times": attrs.asdict(group.times), "files": files}
    )  # fmt: skip
    return answer
