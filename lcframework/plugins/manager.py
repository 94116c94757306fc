"""Loads plugins, keeps what they offer, and selects by name; the only module that uses pluggy's plugin manager.

A plugin that can't be loaded, or that breaks the contract of a hook, is recorded with the reason. It does not stop a
command that does not use it; only the use of a class that it offers is an error.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import pluggy

from lcframework import hookspecs
from lcframework.entry_points import is_built_in, package_of, plain_name, switched_off, version_of
from lcframework.options import nearest
from lcframework.plugins.checking import class_problem, hook_problems, name_problem
from lcframework.plugins.finding import Found, installed
from lcframework.plugins.guarding import Source, asked, silenced
from lcframework.plugins.places import place_of, raised_at
from lcframework.plugins.seams import HOOKS, SEAM_OF_HOOK
from lcframework.plugins.stage_checks import chain_problems
from lcframework.types import PluginError, RunEvent

log = logging.getLogger(__name__)

_STAGES, _RULES = "lcf_stages", "lcf_setting_rules"


@attrs.frozen
class Offer:
    """A class that a plugin offers under a name.

    `name` is how the project file selects it: where another plugin's class goes by the plain name, it is
    ``"package:name"``.
    """

    hook: str
    name: str
    cls: type[Any]
    plugin: str
    origin: str

    @property
    def results_version(self) -> int:
        """The version of the results of the class; its author increases it when results change."""
        return int(getattr(self.cls, "results_version", 1))

    @property
    def package(self) -> str:
        """The package that it comes from."""
        return package_of(self.origin)

    @property
    def version(self) -> str:
        """The version of the package."""
        return version_of(self.origin)

    @property
    def source(self) -> Source:
        """Who answers, for messages."""
        section = SEAM_OF_HOOK[self.hook].section
        return Source(section or self.hook, self.hook, self.name, self.plugin, self.origin, self.cls.__module__)


@attrs.define
class Plugin:
    """One plugin, with the classes that it offers and the problems that were found.

    Attributes
    ----------
    name, module, origin : str
        Of the entry point; of what it names; the package and its version.
    hooks : list of str
        That it answers.
    offers : list of Offer
        The classes that can be used.
    problems : list of str
        What is broken, where, and what to do.
    file : str
        The path of the module.
    seconds : float
        That its import took.
    disabled : str
        Who switched it off, so that it was not loaded; empty: nobody.
    """

    name: str
    module: str
    origin: str
    hooks: list[str] = attrs.field(factory=list)
    offers: list[Offer] = attrs.field(factory=list)
    problems: list[str] = attrs.field(factory=list)
    file: str = ""
    seconds: float = 0.0
    disabled: str = ""

    @property
    def healthy(self) -> bool:
        """Whether all that it offers can be used."""
        return not self.problems

    @property
    def package(self) -> str:
        """The package that it belongs to."""
        return package_of(self.origin)


class Plugins:
    """Plugins, loaded and checked.

    Parameters
    ----------
    plugins : iterable of Found, or of (name, origin, loader)
        Where `loader` is a function that returns the plugin's module (or any object with hook implementations).
        :meth:`installed` makes these from the environment.
    disabled : iterable of str
        Names of plugins or packages that are not loaded, in addition to those of ``LCF_DISABLE_PLUGINS``.
    """

    def __init__(self, plugins: Iterable[Found | tuple[str, str, Any]] = (), disabled: Iterable[str] = ()) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._found = [p if isinstance(p, Found) else Found(*p) for p in plugins]
        self._disabled = list(disabled)
        self.plugins: list[Plugin] = []
        self._broken: dict[tuple[str, str], list[str]] = {}  # hook and name: what is wrong with the class
        for found in self._found:
            self.plugins.append(self._load(found))
        self._settle()

    @classmethod
    def installed(cls, disabled: Iterable[str] = ()) -> Plugins:
        """Load every plugin of this environment that nobody switched off."""
        return cls(installed(), disabled)

    def without(self, disabled: Iterable[str]) -> Plugins:
        """Return the same plugins without some, by the names of plugins or packages."""
        more = [name for name in disabled if name not in self._disabled]
        return Plugins(self._found, [*self._disabled, *more]) if more else self

    def joined(self, plugins: Iterable[Found | tuple[str, str, Any]]) -> Plugins:
        """Return these plugins together with others, which are given as to the class; these stay as they are.

        Modules must be importable by their names in worker processes where their classes are sent to them.
        """
        return Plugins([*self._found, *plugins], self._disabled)

    # ---------------------------------------------------------------- loading

    def _load(self, found: Found) -> Plugin:
        name, origin = found.name, found.origin
        if who := switched_off(name, origin, self._disabled):
            return Plugin(name, found.module, origin, disabled=who)
        started = time.perf_counter()
        try:
            with silenced(Source("", "", name, "", origin)):
                module = found.loader()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # an import may raise anything, also SystemExit; it must not stop the run
            what = "it calls sys.exit when it is imported" if isinstance(error, SystemExit) else ""
            problem = f"does not load: {type(error).__name__}: {what or error}".replace("\n", " ")
            return Plugin(name, found.module, origin, problems=[problem + raised_at(error, found.module)])
        plugin = Plugin(name, getattr(module, "__name__", type(module).__name__), origin)
        plugin.seconds = time.perf_counter() - started
        plugin.file = str(getattr(module, "__file__", "") or "")
        plugin.problems += hook_problems(module)
        if plugin.problems:
            return plugin
        if self._manager.is_registered(module):
            others = [p.name for p in self.plugins if p.module == plugin.module and p.healthy]
            problem = f"its module {plugin.module} is also that of {others[0] if others else 'another'}: name it once"
            plugin.problems.append(problem + place_of(module))
            return plugin
        try:
            self._manager.register(module, name=f"{name} ({origin})")
        except (pluggy.PluginValidationError, ValueError) as error:
            plugin.problems.append(str(error).replace("\n", " "))
            return plugin
        plugin.hooks = sorted(n for n in HOOKS if callable(getattr(module, n, None)))
        for hook in plugin.hooks:
            if hook in SEAM_OF_HOOK:
                self._ask(plugin, hook, getattr(module, hook))
        return plugin

    def _ask(self, plugin: Plugin, hook: str, function: Any) -> None:
        try:
            with silenced(Source("", "", plugin.name, "", plugin.origin)):
                answer = function()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            place = raised_at(error, plugin.module)
            plugin.problems.append(f"{hook} raised {type(error).__name__}: {error}{place}")
            return
        if not isinstance(answer, Mapping):
            plugin.problems.append(
                f"{hook} returned a {type(answer).__name__}; a mapping from names to classes is "
                f"needed{place_of(function)}"
            )
            return
        for name, cls in answer.items():
            try:
                problem = name_problem(name) or class_problem(cls, SEAM_OF_HOOK[hook], name)
            except Exception as error:  # a class may answer anything when it is looked at
                problem = f"can't be examined: {type(error).__name__}: {error}"
            if problem:
                place = place_of(cls) or place_of(function)
                plugin.problems.append(f"{hook}: {name!r}: {problem}{place}")
                self._broken.setdefault((hook, str(name)), []).append(
                    f"{plugin.name} ({plugin.origin}) is installed but broken: {problem}{place}"
                )
            else:
                plugin.offers.append(Offer(hook, name, cls, plugin.name, plugin.origin))

    # ---------------------------------------------------------------- what is offered

    def _settle(self) -> None:
        """Give each offer the name that selects it, once all are known, and take out what has no place."""
        for plugin in self.plugins:
            plugin.offers = [attrs.evolve(o, name=o.name.rpartition(":")[2]) for o in plugin.offers]
        self._check_stages()
        self._check_rules()
        by_name: dict[tuple[str, str], list[Offer]] = {}
        for plugin in self.plugins:
            for offer in plugin.offers:
                by_name.setdefault((offer.hook, offer.name), []).append(offer)
        self._offers: dict[str, dict[str, Offer]] = {}
        self._shared: dict[tuple[str, str], list[Offer]] = by_name
        for plugin in self.plugins:
            plugin.offers = [self._named(plugin, offer, by_name[offer.hook, offer.name]) for offer in plugin.offers]
            for offer in plugin.offers:
                self._offers.setdefault(offer.hook, {})[offer.name] = offer

    @staticmethod
    def _named(plugin: Plugin, offer: Offer, same: list[Offer]) -> Offer:
        """Return an offer by the name that selects it: the plain one where it is alone or the only built-in one."""
        ours = [o for o in same if is_built_in(o.origin)]
        first = same if len(same) == 1 else ours if len(ours) == 1 else []
        if any(o.plugin == offer.plugin and o.origin == offer.origin for o in first):
            return offer
        twice = [o for o in same if o.package == offer.package]
        return attrs.evolve(offer, name=f"{plugin.name if len(twice) > 1 else offer.package}:{offer.name}")

    def _check_stages(self) -> None:
        offered = [(p, o) for p in self.plugins for o in p.offers if o.hook == _STAGES]
        for i, problem in chain_problems([o.cls for _, o in offered]).items():
            self._take_out(*offered[i], problem)

    def _check_rules(self) -> None:
        """Take out rules of third parties that decide what another rule decides."""
        offered = [(p, o) for p in self.plugins for o in p.offers if o.hook == _RULES]
        taken: dict[str, Offer] = {}
        for plugin, offer in sorted(offered, key=lambda pair: not is_built_in(pair[1].origin)):
            others = [taken[s] for s in offer.cls.settings if s in taken]
            if others and not is_built_in(offer.origin):
                setting = next(s for s in offer.cls.settings if s in taken)
                self._take_out(
                    plugin, offer, f"{setting} is decided by {others[0].plugin} ({others[0].origin}) already: "
                    f'[plugins] disable = ["{others[0].plugin}"] leaves it to this one',
                )  # fmt: skip
                continue
            taken.update(dict.fromkeys(offer.cls.settings, offer))

    def _take_out(self, plugin: Plugin, offer: Offer, problem: str) -> None:
        text = f"{problem}{place_of(offer.cls)}"
        plugin.offers = [o for o in plugin.offers if o is not offer]
        plugin.problems.append(f"{offer.hook}: {offer.name!r}: {text}")
        self._broken.setdefault((offer.hook, offer.name), []).append(
            f"{plugin.name} ({plugin.origin}) is installed but broken: {text}"
        )

    # ---------------------------------------------------------------- selecting

    def names(self, hook: str) -> list[str]:
        """Return the names by which installed plugins are selected for a hook."""
        return sorted(self._offers.get(hook, {}))

    def offers(self, hook: str) -> list[Offer]:
        """Return every offer for a hook, in order of the names that select them."""
        return [offer for _, offer in sorted(self._offers.get(hook, {}).items())]

    def get(self, hook: str, name: str, where: str = "") -> Offer:
        """Return the offer with the name `name`.

        Parameters
        ----------
        hook : str
            The hook of the seam.
        name : str
            The name, as in ``plugin = "name"``; ``"package:name"`` says whose. A plain name that several offer is the
            built-in plugin's, so that nothing changes when a package is installed.
        where : str
            The option of the project file that selects it, for the message.

        Raises
        ------
        PluginError
            Where no installed plugin offers the name, or more than one and none of them is built in; broken and
            disabled plugins are named with their reason.
        """
        offers = self._offers.get(hook, {})
        if name in offers:
            return offers[name]
        package, _, plain = name.rpartition(":")
        same = self._shared.get((hook, plain), [])
        named = [o for o in same if package and plain_name(package) in (plain_name(o.package), plain_name(o.plugin))]
        if len(named) == 1:
            # Its products are those of this name, whether or not another plugin has it too.
            return attrs.evolve(named[0], name=name)
        start = f"{where}: " if where else ""
        if (same and not package) or len(named) > 1:
            who = " and ".join(f"{o.plugin} of {o.origin}" for o in same)
            choices = " or ".join(f'"{n}"' for n, o in sorted(offers.items()) if n.endswith(f":{plain}"))
            raise PluginError(f'{start}several installed plugins offer "{plain}": {who}. Say whose: {choices}.')
        raise PluginError(start + self._absent(hook, name))

    def _absent(self, hook: str, name: str) -> str:
        known = self.names(hook)
        message = f'no installed plugin offers "{name}" for {hook}{nearest(name, known)}'
        message += f"{'' if message.endswith('?') else '.'} Installed: {', '.join(known) or 'none'}."
        plain = name.rpartition(":")[2]
        reasons = list(self._broken.get((hook, plain), []))
        words = {name, plain}
        for plugin in self.plugins:
            if not words & {plugin.name, *plugin.name.replace("-", " ").split()}:
                continue
            if plugin.disabled:
                reasons.append(f"{plugin.name} ({plugin.origin}) is switched off by {plugin.disabled}")
            elif plugin.problems and not reasons:
                reasons.append(f"{plugin.name} ({plugin.origin}) is installed but broken: {plugin.problems[0]}")
        for reason in reasons:
            message += f" {reason}."
        if not reasons:
            message += " If a package provides it, install that package into this environment (see `lcf plugins`)."
        return message

    def notify(self, event: RunEvent) -> None:
        """Pass an event to every plugin that listens; exceptions that they raise are logged."""
        for implementation in self._manager.hook.lcf_event.get_hookimpls():
            who = implementation.plugin_name
            source = Source("lcf_event", "lcf_event", who, who, "", getattr(implementation.plugin, "__name__", ""))
            try:
                asked(source, "lcf_event", implementation.function, event)
            except Exception:
                log.exception("plugin %s failed on %s", who, event.kind)
