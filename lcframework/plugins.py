"""Finds, checks and selects plugins; the only module that uses pluggy's plugin manager.

A plugin that can't be loaded, or that breaks the contract of a hook, is recorded with the reason. It does not stop a
command that does not use it; only the use of a class that it offers is an error.
"""

from __future__ import annotations

import functools
import inspect
import logging
import time
from collections.abc import Iterable, Mapping
from importlib import metadata
from types import ModuleType
from typing import Any

import attrs
import pluggy

from lcframework import hookspecs, protocols
from lcframework.options import closest
from lcframework.types import PluginError, RunEvent

log = logging.getLogger(__name__)

GROUP = "lcframework"
COMMAND_PREFIX = "command."


@attrs.frozen
class Seam:
    """A seam: one replaceable part of the pipeline, with its section of the project file, its hook and its protocol."""

    section: str
    hook: str
    protocol: type[Any] | None


SEAMS: tuple[Seam, ...] = (
    Seam("header", "lcf_header_parsers", protocols.HeaderParser),
    Seam("reduction", "lcf_reductions", protocols.Reduction),
    Seam("background", "lcf_background_estimators", protocols.BackgroundEstimator),
    Seam("sources", "lcf_source_extractors", protocols.SourceExtractor),
    Seam("plate_solving", "lcf_plate_solvers", protocols.PlateSolver),
    Seam("stars", "lcf_star_catalogs", protocols.StarCatalog),
    Seam("cosmics", "lcf_cosmic_maskers", protocols.CosmicMasker),
    Seam("psf", "lcf_psf_models", protocols.PsfModel),
    Seam("comparison_stars", "lcf_comparison_stars", protocols.ComparisonStars),
    Seam("photometry", "lcf_photometry", protocols.Photometry),
    Seam("normalization", "lcf_normalizations", protocols.Normalization),
    Seam("calibration", "lcf_calibration_surveys", protocols.CalibrationSurvey),
    Seam("roi_model", "lcf_roi_models", protocols.RoiModel),
    Seam("", "lcf_setting_rules", protocols.SettingRule),
    Seam("", "lcf_stages", None),
    Seam("", "lcf_exporters", protocols.Exporter),
    Seam("", "lcf_executors", None),
    Seam("", "lcf_report_panels", None),
)
SEAM_OF_SECTION = {s.section: s for s in SEAMS if s.section}
_CLASS_HOOKS = {s.hook: s for s in SEAMS}


@attrs.frozen
class Offer:
    """A class that a plugin offers under a name."""

    hook: str
    name: str
    cls: type[Any]
    plugin: str
    origin: str

    @property
    def results_version(self) -> int:
        """The version of the results of the class; its author increases it when results change."""
        return int(getattr(self.cls, "results_version", 1))


@attrs.define
class Plugin:
    """One installed entry point, with the classes that it offers and the problems that were found."""

    name: str
    module: str
    origin: str
    hooks: list[str] = attrs.field(factory=list)
    offers: list[Offer] = attrs.field(factory=list)
    problems: list[str] = attrs.field(factory=list)
    seconds: float = 0.0  # of CPU, to import its module; what an earlier one imported costs nothing

    @property
    def healthy(self) -> bool:
        """Whether all that it offers can be used."""
        return not self.problems


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a suggestion of the known word nearest to `word`, as the end of a sentence; empty where none is near."""
    like = closest(word, known)
    return f'; did you mean "{like}"?' if like else ""


@functools.cache
def _release(dist: metadata.Distribution | None) -> str:
    """Return a distribution's name and version; cached, because many entry points share a distribution."""
    return f"{dist.name} {dist.version}" if dist is not None else ""


class Plugins:
    """Every installed plugin, loaded and checked.

    Parameters
    ----------
    plugins : iterable of (name, origin, loader)
        Where `loader` is a function that returns the plugin's module (or any object with hook implementations).
        :meth:`installed` makes these from the environment.
    """

    def __init__(self, plugins: Iterable[tuple[str, str, Any]]) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._known_hooks = [n for n in vars(hookspecs) if n.startswith("lcf_")]
        self.plugins: list[Plugin] = []
        for name, origin, loader in plugins:
            self.plugins.append(self._load(name, origin, loader))
        self._offers: dict[str, dict[str, list[Offer]]] = {}
        for plugin in self.plugins:
            for offer in plugin.offers:
                self._offers.setdefault(offer.hook, {}).setdefault(offer.name, []).append(offer)
        self._note_conflicts()

    @classmethod
    def installed(cls) -> Plugins:
        """Load every plugin of this environment."""
        found = []
        for point in sorted(metadata.entry_points(group=GROUP), key=lambda p: (p.name, p.value)):
            if not point.name.startswith(COMMAND_PREFIX):
                found.append((point.name, _release(point.dist) or point.value, point.load))
        return cls(found)

    def _load(self, name: str, origin: str, loader: Any) -> Plugin:
        started = time.process_time()
        try:
            module = loader()
        except Exception as error:  # an import may raise anything; it must not stop the run
            return Plugin(
                name, "", origin, problems=[f"does not load: {type(error).__name__}: {error}".replace("\n", " ")]
            )
        seconds = time.process_time() - started
        plugin = Plugin(name, getattr(module, "__name__", type(module).__name__), origin, seconds=seconds)
        plugin.problems += self._hook_problems(module)
        if plugin.problems:
            return plugin
        try:
            self._manager.register(module, name=f"{name} ({origin})")
        except (pluggy.PluginValidationError, ValueError) as error:
            plugin.problems.append(str(error).replace("\n", " "))
            return plugin
        plugin.hooks = sorted(n for n in self._known_hooks if callable(getattr(module, n, None)))
        for hook in plugin.hooks:
            if hook in _CLASS_HOOKS:
                self._ask(plugin, hook, getattr(module, hook))
        return plugin

    def _hook_problems(self, module: ModuleType | Any) -> list[str]:
        """Return errors that pluggy does not report: functions with wrong names, without a marker, or with defaults."""
        problems = []
        marker = f"{hookspecs.PROJECT}_impl"
        for name, function in vars(module).items():
            marked = getattr(function, marker, None) is not None
            if not marked and not (name.startswith("lcf_") and inspect.isfunction(function)):
                continue
            if name not in self._known_hooks:
                problems.append(f"{name} is not a hook{nearest(name, self._known_hooks)}")
            elif not marked:
                problems.append(f"{name} has no @hookimpl before it, so it would never be called")
            else:
                wanted = set(inspect.signature(getattr(hookspecs, name)).parameters)
                for parameter in inspect.signature(function).parameters.values():
                    if parameter.name not in wanted:
                        problems.append(
                            f"{name} takes {parameter.name!r}; the hook gives {sorted(wanted) or 'nothing'}"
                        )
                    elif parameter.default is not inspect.Parameter.empty:
                        problems.append(
                            f"{name}: the parameter {parameter.name!r} has a default and would never get its value"
                        )
        return problems

    def _ask(self, plugin: Plugin, hook: str, function: Any) -> None:
        try:
            answer = function()
        except Exception as error:
            plugin.problems.append(f"{hook} raised {type(error).__name__}: {error}")
            return
        if not isinstance(answer, Mapping):
            plugin.problems.append(
                f"{hook} returned a {type(answer).__name__}; a mapping from names to classes is needed"
            )
            return
        for name, cls in answer.items():
            problem = class_problem(cls, _CLASS_HOOKS[hook])
            if problem:
                plugin.problems.append(f"{hook}: {name!r}: {problem}")
            else:
                plugin.offers.append(Offer(hook, str(name), cls, plugin.name, plugin.origin))

    def _note_conflicts(self) -> None:
        by_name = {p.name: p for p in self.plugins}
        for hook, names in self._offers.items():
            for name, offers in names.items():
                if len(offers) > 1:
                    who = " and ".join(f"{o.plugin} ({o.origin})" for o in offers)
                    for offer in offers:
                        by_name[offer.plugin].problems.append(f"{hook}: the name {name!r} is offered by {who}")

    def names(self, hook: str) -> list[str]:
        """Return the names that installed plugins offer for a hook."""
        return sorted(self._offers.get(hook, {}))

    def offers(self, hook: str) -> list[Offer]:
        """Return every offer for a hook whose name is unambiguous, in order of name."""
        return [offers[0] for _, offers in sorted(self._offers.get(hook, {}).items()) if len(offers) == 1]

    def get(self, hook: str, name: str, where: str = "") -> Offer:
        """Return the offer with the name `name`.

        Parameters
        ----------
        hook : str
            The hook of the seam.
        name : str
            The name, as in ``plugin = "name"``.
        where : str
            The option of the project file that selects it, for the message.

        Raises
        ------
        PluginError
            Where no installed plugin, or more than one, offers the name; broken plugins are named with their reason.
        """
        offers = self._offers.get(hook, {}).get(name, [])
        if len(offers) == 1:
            return offers[0]
        start = f"{where}: " if where else ""
        if offers:
            who = " and ".join(f"{o.plugin} of {o.origin}" for o in offers)
            raise PluginError(f'{start}two installed plugins offer "{name}": {who}. Uninstall one of them.')
        known = self.names(hook)
        message = f'{start}no installed plugin offers "{name}" for {hook}{nearest(name, known)}'
        message += f"{'' if message.endswith('?') else '.'} Installed: {', '.join(known) or 'none'}."
        broken = [p for p in self.plugins if p.problems and name in {p.name, *p.name.replace("-", " ").split()}]
        for plugin in broken:
            message += f" {plugin.name} ({plugin.origin}) is installed but broken: {plugin.problems[0]}."
        if not broken:
            message += " If a package provides it, install that package into this environment (see `lcf plugins`)."
        raise PluginError(message)

    def notify(self, event: RunEvent) -> None:
        """Pass an event to every plugin that listens; exceptions that they raise are logged."""
        for implementation in self._manager.hook.lcf_event.get_hookimpls():
            try:
                implementation.function(event)
            except Exception:
                log.exception("plugin %s failed on %s", implementation.plugin_name, event.kind)


def class_problem(cls: Any, seam: Seam) -> str:
    """Return why a class can't be used for a seam, or an empty string."""
    if not inspect.isclass(cls):
        return f"is a {type(cls).__name__}, not a class"
    if seam.protocol is None:
        return ""
    if not attrs.has(cls):
        return f"{cls.__name__} is not an attrs class; put @attrs.frozen before it"
    for name, _ in inspect.getmembers(seam.protocol, lambda member: isinstance(member, property)):
        if not hasattr(cls, name) and name not in attrs.fields_dict(cls):
            return f"{cls.__name__} has no attribute {name}"
    for name, wanted in inspect.getmembers(seam.protocol, inspect.isfunction):
        if name.startswith("_"):
            continue
        method = getattr(cls, name, None)
        if not callable(method):
            return f"{cls.__name__} has no method {name}{inspect.signature(wanted)}"
        theirs = [p for p in inspect.signature(method).parameters if p != "self"]
        ours = [p for p in inspect.signature(wanted).parameters if p != "self"]
        if theirs != ours:
            return f"{cls.__name__}.{name} takes ({', '.join(theirs)}); it is called with ({', '.join(ours)})"
    return ""
