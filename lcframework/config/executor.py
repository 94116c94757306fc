"""The executor that ``[run]`` selects, with the options of ``[run.NAME]``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lcframework.config.project_file import Config
from lcframework.config.structuring import Problem, structure
from lcframework.plugins import Plugins
from lcframework.types import PluginError

_HOOK = "lcf_executors"


def make_executor(config: Config, plugins: Plugins) -> Any:
    """Return the selected :class:`~lcframework.executors.Executor`.

    Raises
    ------
    ConfigError
        Where one of its options is wrong.
    PluginError
        Where no installed plugin offers it.
    """
    name = config.run.executor
    problems: list[Problem] = []
    made = _made(config, plugins.get(_HOOK, name, "[run] executor").cls, name, problems)
    if made is None:
        raise config.error(problems)
    return made


def check_executors(config: Config, plugins: Plugins, problems: list[Problem]) -> None:
    """Check the tables of all executors in ``[run]``, the selected one or not."""
    for name in config.tables["run"]:
        try:
            _made(config, plugins.get(_HOOK, name, f"[run.{name}]").cls, name, problems)
        except PluginError as error:
            problems.append(Problem(f"run.{name}", str(error)))


def _made(config: Config, cls: type[Any], name: str, problems: list[Problem]) -> Any:
    table: Mapping[str, Any] = config.tables["run"].get(name, {})
    where = f"run.{name}"
    if "workers" in table:
        problems.append(Problem(f"{where}.workers", f"[{where}] workers: give the number of workers in [run]"))
        return None
    if attrs.has(cls):
        return structure(cls, {"workers": config.run.workers, **table}, where, config.directory, problems)
    problems += [Problem(f"{where}.{option}", f"[{where}] {option}: {name} has no options") for option in table]
    return cls(config.run.workers)
