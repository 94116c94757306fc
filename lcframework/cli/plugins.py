"""``lcf plugins``: what is installed, what a project uses, new packages, and the suites on what is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from lcframework.cli.main import COMMANDS
from lcframework.types import LcfError

if TYPE_CHECKING:
    from lcframework.plugin_kit.inventory import Listed
    from lcframework.plugin_kit.kinds import Kind
    from lcframework.plugins import Offer, Plugins


class _NamesToo(click.Group):
    """A group whose first word may be the name of a plugin: it is shown."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take what begins with no subcommand as words for ``show``."""
        own = {name for option in self.params for name in option.opts}  # options of the group itself
        first = next((a for a in args if a not in own), "")
        if first not in self.commands and first not in ctx.help_option_names:
            args = [*(a for a in args if a in own), "show", *(a for a in args if a not in own)]
        return super().parse_args(ctx, args)


@click.group("plugins", cls=_NamesToo)
def command() -> None:
    """Show every plugin with version, origin, hooks and problems; with NAME (or `show NAME`), also its options."""


@command.command()
@click.argument("name", required=False)
@click.option("--project", type=click.Path(dir_okay=False, path_type=Path),
              help="Show which plugins this project uses, and why.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def show(name: str | None, project: Path | None, as_json: bool) -> None:
    """Show what is installed, or what a project uses.

    Exit codes: 0; 1 where NAME is not installed, or, without NAME, some plugin is broken.
    """
    if project is not None:
        _show_uses(project, name, as_json)
        return
    from lcframework.plugin_kit.inventory import as_dict, installed, matching

    _, listed = installed(COMMANDS)
    chosen = listed if name is None else matching(listed, name)
    if as_json:
        click.echo(json.dumps([as_dict(one) for one in chosen], indent=2))
    elif name is None:
        _table(listed)
    else:
        for one in chosen:
            _detail(one, name)
    if name is None and any(one.plugin.problems for one in listed):
        sys.exit(1)


def _table(listed: list[Listed]) -> None:
    width = max((len(one.plugin.name) for one in listed), default=4)
    for one in listed:
        off = f"  (switched off by {one.plugin.disabled})" if one.plugin.disabled else ""
        click.echo(f"{one.plugin.name:<{width}}  {one.plugin.origin}  {', '.join(one.offered)}{off}")
        for problem in one.plugin.problems:
            click.echo(f"{'':<{width}}  BROKEN: {problem}")


def _detail(one: Listed, name: str) -> None:
    plugin = one.plugin
    click.echo(f"{plugin.name}: {plugin.module}, from {plugin.origin}")
    if plugin.file:
        click.echo(f"  {plugin.file}, imported in {plugin.seconds:.3f} s")
    for what, address in (("homepage", one.homepage), ("issues", one.issues)):
        if address:
            click.echo(f"  {what}: {address}")
    click.echo(f"  hooks: {', '.join(plugin.hooks) or 'none'}")
    for problem in plugin.problems:
        click.echo(f"  BROKEN: {problem}")
    for called, found in one.commands.items():
        click.echo(f"  lcf {called}: {found.get_short_help_str(100)}")
    for offer in plugin.offers:
        if name in (plugin.name, offer.name, plugin.origin.split(" ")[0]):
            _offer(offer)


def _offer(offer: Offer) -> None:
    from lcframework.plugin_kit.inventory import section_or_hook, summary
    from lcframework.plugin_kit.option_docs import option_docs

    version = f"(results version {offer.results_version})"
    click.echo(f'  {section_or_hook(offer)} plugin = "{offer.name}": {summary(offer.cls)} {version}')
    for option in option_docs(offer.cls):
        default = "(needed)" if option.needed else _toml(option.default)
        words = ", ".join(text for text in (option.unit, option.meaning) if text)
        click.echo(f"    {option.name} = {default}  # {option.allowed}{f': {words}' if words else ''}")


def _toml(value: Any) -> str:
    """Return an option's value as TOML has it; where it has none, an empty text stands for it."""
    if value in ("inf", "-inf", "nan"):
        return str(value)
    return '""' if value is None else json.dumps(value, ensure_ascii=False)


def _show_uses(project: Path, name: str | None, as_json: bool) -> None:
    from lcframework.plugin_kit.usage import uses
    from lcframework.project import Project

    found = [use for use in uses(Project.open(project)) if name in (None, use.name)]
    if not found:
        raise click.ClickException(f'{project} uses no plugin called "{name}"; without NAME all are listed')
    if as_json:
        rows = [{**attrs.asdict(use), "options": {k: {"value": v, "by": by} for k, (v, by) in use.options.items()}}
                for use in found]  # fmt: skip
        click.echo(json.dumps(rows, indent=2))
        return
    place, called = (max(len(getattr(use, what)) for use in found) for what in ("place", "name"))
    for use in found:
        click.echo(f"{use.place:<{place}}  {use.name:<{called}}  {use.why}{f'  ({use.origin})' if use.origin else ''}")
        for option, (value, by) in use.options.items():
            click.echo(f"{'':<{place}}    {option} = {_toml(value)}  # {by}")


@command.command("new")
@click.argument("kind")
@click.argument("name")
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), default=Path("."),
              help="The folder in which the package's own folder is made.  [default: this one]")  # fmt: skip
@click.option("--frames", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="For a header parser: frames whose headers it is to read.")  # fmt: skip
@click.option("--pattern", default="*.fits", show_default=True, help="Which of these frames.")
def new(kind: str, name: str, into: Path, frames: Path | None, pattern: str) -> None:
    """Write a package of the KIND called NAME: it installs, works, and passes its tests as it is written.

    KIND is the section of the project file (header, psf, calibration, ...), or setting_rule, stage, exporter, executor,
    command, report_panel or listener. CHECK comments say what its author must look at.
    """
    from lcframework.plugin_kit.kinds import find_kind
    from lcframework.plugin_kit.packages import checks, naming, package_files, write_package
    from lcframework.plugins import Plugins

    wanted = find_kind(kind)
    if frames is not None and wanted.word != "header":
        raise click.UsageError(f"--frames is for header parsers; {wanted.what} is not made from headers")
    plugins = Plugins.installed()
    names = naming(wanted, name, _taken(wanted, plugins))
    headers, gain = _headers(frames, pattern, plugins) if frames else ([], None)
    files = package_files(names, headers, gain)
    folder = into / names.package
    write_package(folder, files)
    click.echo(f"{folder} is written: {', '.join(files)}")
    click.echo("To look at:")
    for file, line, text in checks(files):
        click.echo(f"  {file}:{line}: {text}")
    click.echo("To try it:")
    by = " --project project.toml" if wanted.word in ("stars", "calibration") else ""
    by = f" --frames {frames}" if frames is not None else by
    for text in (f"pip install -e {folder}", f"lcf plugins check {names.name}{by}", f"pytest {folder}"):
        click.echo(f"  {text}")


def _taken(kind: Kind, plugins: Plugins) -> dict[str, str]:
    """Return the names that a new plugin can't have, and whose they are."""
    found = {o.name: o.origin for o in plugins.offers(kind.hook)}
    if kind.word == "command":
        from lcframework.plugin_kit.commands import plugin_commands

        found |= dict.fromkeys(plugin_commands(COMMANDS), "another package") | dict.fromkeys(COMMANDS, "lcframework")
    elif kind.word == "stage":
        from lcframework.plugins.names import SECTION_NAMES, STAGES

        found |= dict.fromkeys([*STAGES, *SECTION_NAMES], "lcframework (as a stage or a section)")
    return found


def _headers(frames: Path, pattern: str, plugins: Plugins) -> tuple[list[Any], Any]:
    """Return the headers of a folder's most frequent instrument among files that no parser knows, and their gain."""
    from lcframework.header_doctor import default_parsers, examine

    folder = frames.resolve()
    groups = examine(folder, pattern, default_parsers(plugins, folder), plugins=plugins)
    readable = [(g, [f.header for f in g.unknown if f.header is not None]) for g in groups]
    readable = [(g, headers) for g, headers in readable if headers]
    if not readable:
        raise LcfError(
            f"installed parsers read every file of {frames} (`lcf headers {frames}` shows what they read), or none is "
            "FITS. To write a parser all the same, leave --frames out."
        )
    group, headers = max(readable, key=lambda found: len(found[1]))
    click.echo(f"It is to read {len(headers)} files of {group.instrument}.")
    others = [g.instrument for g, _ in readable if g is not group]
    if others:
        click.echo(f"Not of {', '.join(others)}: write theirs from a folder of theirs alone.")
    return headers, group.gain


@command.command("check")
@click.argument("name")
@click.option("--project", type=click.Path(dir_okay=False, path_type=Path),
              help="Check it with this project's options, at its region and in its band.")  # fmt: skip
@click.option("--frames", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Check a header parser on these frames.")  # fmt: skip
@click.option("--pattern", default="*.fits", show_default=True, help="Which of these frames.")
@click.option("--network", is_flag=True, help="Also ask services on the network.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def check(
    name: str, project: Path | None, frames: Path | None, pattern: str, network: bool, as_json: bool
) -> None:  # fmt: skip
    """Run the suite of its kind on what is installed as NAME: a plugin, its entry point, or its package.

    Exit codes: 0 what could be checked passed; 1 something failed, or nothing could be checked.
    """
    from lcframework.plugin_kit.checking import PASSED, check_plugin, failed, given
    from lcframework.plugin_kit.inventory import installed, matching

    plugins, listed = installed(COMMANDS)
    chosen = matching(listed, name)
    by = given(plugins, project, frames, pattern, network)
    findings = {one.plugin.name: check_plugin(one, by, name) for one in chosen}
    every = [finding for found in findings.values() for finding in found]
    if as_json:
        rows = [{"plugin": plugin, **attrs.asdict(f)} for plugin, found in findings.items() for f in found]
        click.echo(json.dumps(rows, indent=2))
    else:
        for one in chosen:
            click.echo(f"{one.plugin.name}: {one.plugin.module}, from {one.plugin.origin}")
            for f in findings[one.plugin.name]:
                suite = f": {f.suite} ({f.seconds:.1f} s)" if f.suite else ""
                click.echo(f"  {f.outcome if f.outcome == PASSED else f.outcome.upper():<8} {f.what}{suite}")
                if f.text:
                    click.echo(f"           {f.text}")
        if not any(f.outcome == PASSED for f in every):
            click.echo("nothing passed")
    if failed(every):
        sys.exit(1)
