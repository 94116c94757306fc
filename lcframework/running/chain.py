"""The stages of a run and their order: the documented stages, and those of plugins after the stages they name."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from lcframework.config.project_file import Config
from lcframework.config.structuring import Problem
from lcframework.config.toolbox import Toolbox, options
from lcframework.plugins import Plugins, nearest
from lcframework.stages import CHAIN
from lcframework.types import LcfError, PluginError
from lcframework.work import Filter, Stage


def stage_names(plugins: Plugins) -> tuple[str, ...]:
    """Return the names of the stages that plugins add."""
    return tuple(plugins.names("lcf_stages"))


def resolve(toolbox: Toolbox, plugins: Plugins) -> list[Stage]:
    """Return a run's stages in order, each with its options.

    Raises
    ------
    PluginError
        Where a plugin's stage names a predecessor that does not exist.
    ConfigError
        Where its options are wrong.
    """
    classes: list[type[Stage]] = list(CHAIN)
    waiting = {name: plugins.get("lcf_stages", name).cls for name in plugins.names("lcf_stages")}
    while waiting:
        ready = [n for n, cls in waiting.items() if cls.after in {c.name for c in classes}]
        if not ready:
            name, cls = next(iter(waiting.items()))
            known = [c.name for c in classes]
            raise PluginError(
                f'the stage {name} comes after "{cls.after}", which is no stage{nearest(cls.after, known)}'
            )
        for name in ready:
            cls = waiting.pop(name)
            classes.insert([c.name for c in classes].index(cls.after) + 1, cls)
    problems: list[Problem] = []
    stages = [_make(cls, toolbox.config, problems) for cls in classes]
    if problems:
        raise toolbox.config.error(problems)
    made = [s for s in stages if s is not None]
    for stage in made:
        stage.toolbox = toolbox
    return made


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
