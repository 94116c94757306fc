"""``lcf plugins``."""

from __future__ import annotations

import inspect
import json
import sys
from typing import Any

import attrs
import click

from lcframework.config.structuring import allowed, nearest_or_allowed
from lcframework.plugins import SEAMS, Offer, Plugin, Plugins


@click.command("plugins")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(name: str | None, as_json: bool) -> None:
    """Show every plugin with version, origin, hooks and problems; with NAME, also its options."""
    found = Plugins.installed()
    if as_json:
        click.echo(json.dumps([_as_dict(p) for p in found.plugins], indent=2))
    elif name is None:
        _table(found)
    else:
        _detail(found, name)
    if any(p.problems for p in found.plugins) and name is None:
        sys.exit(1)


def _table(found: Plugins) -> None:
    width = max((len(p.name) for p in found.plugins), default=4)
    for plugin in found.plugins:
        offers = ", ".join(f"{_section_or_hook(o)} {o.name}" for o in plugin.offers) or ", ".join(plugin.hooks)
        click.echo(f"{plugin.name:<{width}}  {plugin.origin}  {offers}")
        for problem in plugin.problems:
            click.echo(f"{'':<{width}}  BROKEN: {problem}")


def _section_or_hook(offer: Offer) -> str:
    seam = next((s for s in SEAMS if s.hook == offer.hook), None)
    return f"[{seam.section}]" if seam and seam.section else offer.hook


def _detail(found: Plugins, name: str) -> None:
    plugins = [p for p in found.plugins if name in (p.name, *(o.name for o in p.offers))]
    if not plugins:
        known = sorted({p.name for p in found.plugins} | {o.name for p in found.plugins for o in p.offers})
        raise click.ClickException(f'no installed plugin is called "{name}"{nearest_or_allowed(name, known)}')
    for plugin in plugins:
        click.echo(f"{plugin.name}: {plugin.module}, from {plugin.origin}")
        click.echo(f"  hooks: {', '.join(plugin.hooks) or 'none'}")
        for problem in plugin.problems:
            click.echo(f"  BROKEN: {problem}")
        for offer in plugin.offers:
            if name in (plugin.name, offer.name):
                _offer(offer)


def _offer(offer: Offer) -> None:
    summary = (inspect.getdoc(offer.cls) or "").split("\n")[0]
    version = f"(results version {offer.results_version})"
    click.echo(f'  {_section_or_hook(offer)} plugin = "{offer.name}": {summary} {version}')
    for option in options(offer.cls):
        click.echo(f"    {option['name']} = {option['default']}  # {option['allowed']}")


def options(cls: type[Any]) -> list[dict[str, str]]:
    """Return the options of a class: name, default, and allowed values."""
    if not attrs.has(cls):
        return []
    cls = attrs.resolve_types(cls)
    rows = []
    for option in attrs.fields(cls):
        if option.init:
            default = option.default.factory() if isinstance(option.default, attrs.Factory) else option.default  # type: ignore[arg-type]
            shown = "(needed)" if default is attrs.NOTHING else str(default)
            rows.append({"name": option.name, "default": shown, "allowed": allowed(option.type)})
    return rows


def _as_dict(plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name, "module": plugin.module, "origin": plugin.origin, "hooks": plugin.hooks,
        "problems": plugin.problems,
        "offers": [{"hook": o.hook, "name": o.name, "class": o.cls.__qualname__, "results_version": o.results_version,
                    "options": options(o.cls)} for o in plugin.offers],
    }  # fmt: skip
