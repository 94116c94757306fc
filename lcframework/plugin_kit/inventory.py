"""All that is known of what is installed: packages, files, options, commands, problems, and the time to import it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Container
from importlib import metadata
from typing import Any

import attrs

from lcframework.entry_points import addresses, entry_points, origin_of
from lcframework.options import nearest
from lcframework.plugin_kit.commands import examined, load
from lcframework.plugin_kit.option_docs import OptionDoc, option_docs
from lcframework.plugins import SEAM_OF_HOOK, Offer, Plugin, Plugins
from lcframework.types import PluginError

COMMANDS_HOOK = "lcf_commands"


@attrs.frozen
class Listed:
    """One installed plugin, and what its package says about itself.

    Attributes
    ----------
    plugin : Plugin
        What it offers, and what is wrong with it.
    homepage, issues : str
        Addresses that its package gives; empty: none.
    commands : dict
        The click commands that it offers, by name.
    """

    plugin: Plugin
    homepage: str = ""
    issues: str = ""
    commands: dict[str, Any] = attrs.field(factory=dict, eq=False)

    @property
    def offered(self) -> list[str]:
        """What it offers, for people."""
        named = [f"{section_or_hook(o)} {o.name}" for o in self.plugin.offers]
        return named or [f"command {name}" for name in self.commands] or list(self.plugin.hooks)


def section_or_hook(offer: Offer) -> str:
    """Return the section whose plugin an offer may be, else its hook."""
    section = SEAM_OF_HOOK[offer.hook].section
    return f"[{section}]" if section else offer.hook


def installed(own_commands: Container[str] = ()) -> tuple[Plugins, list[Listed]]:
    """Return the plugins of this environment, with all that is known of them; commands are imported too.

    Parameters
    ----------
    own_commands : container of str
        Names of lcframework's commands, which no plugin can have.
    """
    packages = {(point.name, origin_of(point)): point.dist for point in entry_points()}
    plugins = Plugins.installed()
    listed = [Listed(p, *_addresses(packages.get((p.name, p.origin)))) for p in plugins.plugins]
    return plugins, listed + [_command(*found) for found in examined(own_commands)]


def _addresses(dist: metadata.Distribution | None) -> tuple[str, str]:
    """Return a package's homepage and the place for its users' issues."""
    named = addresses(dist.metadata) if dist is not None else {}
    home = next((named[k] for k in ("homepage", "home", "source", "repository") if k in named), "")
    return home, next((named[k] for k in ("issues", "bugtracker", "tracker", "bugs") if k in named), "")


def _command(name: str, point: metadata.EntryPoint, problem: str) -> Listed:
    """Return a command of a plugin, with the reason where it can't be called."""
    file = str(getattr(sys.modules.get(point.value), "__file__", None) or "")
    plugin = Plugin(point.name, point.value, origin_of(point), hooks=[COMMANDS_HOOK], file=file)
    plugin.problems += [problem] if problem else []
    usable = {} if problem else {name: load(name, point)}
    return Listed(plugin, *_addresses(point.dist), usable)


def matching(listed: list[Listed], name: str) -> list[Listed]:
    """Return the plugins that a name means: an entry point's, one that is offered, a command's, or a package's.

    Raises
    ------
    PluginError
        Where none is called so.
    """

    def names(one: Listed) -> set[str]:
        return {one.plugin.name, one.plugin.origin.split(" ")[0], *one.commands, *(o.name for o in one.plugin.offers)}

    found = [one for one in listed if name in names(one)]
    if not found:
        known = sorted(set().union(*(names(one) for one in listed)))
        hint = nearest(name, known) or "; `lcf plugins` lists all"
        raise PluginError(f'no installed plugin is called "{name}"{hint}')
    return found


def as_dict(one: Listed) -> dict[str, Any]:
    """Return a plugin for ``--json``."""
    plugin = one.plugin
    return {
        "name": plugin.name, "module": plugin.module, "file": plugin.file, "origin": plugin.origin,
        "homepage": one.homepage, "issues": one.issues, "import_seconds": round(plugin.seconds, 4),
        "hooks": plugin.hooks, "problems": plugin.problems, "disabled": plugin.disabled,
        "commands": list(one.commands),
        "offers": [_offer_as_dict(offer) for offer in plugin.offers],
    }  # fmt: skip


def _offer_as_dict(offer: Offer) -> dict[str, Any]:
    options: list[OptionDoc] = option_docs(offer.cls)
    return {
        "hook": offer.hook, "name": offer.name, "class": offer.cls.__qualname__, "summary": summary(offer.cls),
        "results_version": offer.results_version, "options": [attrs.asdict(o) for o in options],
    }  # fmt: skip


def summary(cls: type[Any]) -> str:
    """Return the first line of a class's docstring."""
    return (inspect.getdoc(cls) or "").split("\n")[0]
