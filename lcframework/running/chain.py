"""The stages of a run and their order: the documented stages, and those of plugins after the stages they name."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from lcframework.config.project_file import Config
from lcframework.config.structuring import Problem
from lcframework.config.toolbox import Toolbox, options
from lcframework.options import nearest
from lcframework.plugins import Plugins
from lcframework.running.plugin_stages import guarded
from lcframework.stages import CHAIN
from lcframework.types import LcfError, PluginError
from lcframework.work import Filter, Stage


def stage_names(plugins: Plugins) -> tuple[str, ...]:
    """Return the names of the stages that plugins add."""
    return tuple(dict.fromkeys(offer.cls.name for offer in plugins.offers("lcf_stages")))


def resolve(toolbox: Toolbox, plugins: Plugins, partly: bool = False) -> tuple[list[Stage], list[Problem]]:
    """Return a run's stages in order, each with its options: the documented ones, and those that the project names.

    Those that come after the same stage run in the order in which ``[run] stages`` names them, as far as their needs
    allow.

    Parameters
    ----------
    toolbox : Toolbox
        The project's tools.
    plugins : Plugins
        Those installed.
    partly : bool
        Whether stages of plugins may be absent.

    Returns
    -------
    stages : list of Stage
        In their order.
    absent : list of Problem
        Those that are left out because they are absent.

    Raises
    ------
    ConfigError
        Where a stage that ``[run] stages`` names is not installed, rests on one that takes no part, or has wrong
        options.
    """
    classes: list[type[Stage]] = list(CHAIN)
    problems: list[Problem] = []
    waiting = _of_plugins(toolbox, plugins, problems)
    while waiting:
        there = [c.name for c in classes]
        ready = next((cls for cls in waiting.values() if {cls.after, *cls.needs} <= set(there)), None)
        if ready is None:
            # Where another stage of a plugin is absent, those that rest on it are so too.
            gone = any(p.absent for p in problems)
            problems += [_without_another(cls, there, gone) for cls in waiting.values()]
            break
        classes.insert(_place(ready, classes), ready)
        del waiting[ready.name]
    stages = [_make(cls, toolbox.config, problems) for cls in classes]
    left = [p for p in problems if not (partly and p.absent)]
    if left:
        raise toolbox.config.error(left)
    made = [s for s in stages if s is not None]
    for stage in made:
        stage.toolbox = toolbox
    return made, [p for p in problems if p.absent]


def _place(cls: type[Stage], classes: Sequence[type[Stage]]) -> int:
    """Return the place of a plugin's stage: behind those that were placed before it after the same stage."""
    names = [c.name for c in classes]
    at = names.index(cls.after) + 1
    family = {cls.after}
    while at < len(classes) and classes[at].after in family:
        family.add(names[at])
        at += 1
    return max([at, *(names.index(need) + 1 for need in cls.needs)])


def _of_plugins(toolbox: Toolbox, plugins: Plugins, problems: list[Problem]) -> dict[str, type[Stage]]:
    """Return the classes of the stages that the project names, by their names."""
    found: dict[str, type[Stage]] = {}
    for name in dict.fromkeys(toolbox.config.run.stages):
        try:
            offer = plugins.get("lcf_stages", name, "[run] stages")
        except PluginError as error:
            problems.append(Problem("run.stages", str(error), absent=True))
            continue
        if offer.cls.name in found:
            problems.append(Problem("run.stages", f'[run] stages names two stages "{offer.cls.name}": leave one out'))
        found[offer.cls.name] = guarded(offer)
    return found


def _without_another(cls: type[Stage], there: Sequence[str], gone: bool) -> Problem:
    other = next(name for name in (cls.after, *cls.needs) if name not in there)
    return Problem("run.stages", f'[run] stages: {cls.name} rests on the stage "{other}": name that too', absent=gone)


def _make(cls: type[Stage], config: Config, problems: list[Problem]) -> Stage | None:
    table: dict[str, Any] = config.stage_tables.get(cls.name, {})
    return options(cls, table, cls.name, config, problems)


def limited(stages: Sequence[Stage], only: Filter) -> list[Stage]:
    """Return copies of the stages that are limited by a filter."""
    out = [copy.copy(stage) for stage in stages]
    for stage in out:
        stage.only = only
    return out


def described(stages: Sequence[Stage], only: Filter) -> str:
    """Return the request of a run as text: its first and last stage, and the filter."""
    return " ".join([f"{stages[0].name} .. {stages[-1].name}" if stages else "", str(only)]).strip()


def between(stages: Sequence[Stage], start: str | None, stop: str | None) -> list[Stage]:
    """Return the stages from `start` to `stop`, both included.

    Raises
    ------
    LcfError
        Where a name is no stage, or `stop` comes before `start`.
    """
    names = [s.name for s in stages]
    first = position(names, start) if start else 0
    last = position(names, stop) if stop else len(names) - 1
    if last < first:
        raise LcfError(f"the stage {stop} comes before {start}")
    return list(stages[first : last + 1])


def position(names: Sequence[str], name: str) -> int:
    """Return the index of a stage.

    Raises
    ------
    LcfError
        Where no stage has this name.
    """
    if name not in names:
        raise LcfError(f'"{name}" is not a stage{nearest(name, names)}. Stages: {", ".join(names)}')
    return list(names).index(name)
