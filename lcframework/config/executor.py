"""The executor that ``[run]`` selects, with the options of ``[run.NAME]``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs

from lcframework.config.project_file import Config
from lcframework.config.structuring import Problem, structure
from lcframework.plugins import Plugins, Source, asked
from lcframework.types import PluginError

_HOOK = "lcf_executors"


def make_executor(config: Config, plugins: Plugins) -> tuple[Any, Source]:
    """Return the selected :class:`~lcframework.executors.Executor`, and who offers it.

    Raises
    ------
    ConfigError
        Where one of its options is wrong.
    PluginError
        Where no installed plugin offers it.
    """
    name, workers = config.run.executor, config.run.workers
    offer = plugins.get(_HOOK, name, "[run] executor")
    if not attrs.has(offer.cls):
        return asked(offer.source, "__init__", offer.cls, workers), offer.source
    problems: list[Problem] = []
    made = asked(offer.source, "__init__", partial(_with_options, config, offer.cls, name, problems))
    if made is None:
        raise config.error(problems)
    return made, offer.source


def check_executors(config: Config, plugins: Plugins, problems: list[Problem]) -> None:
    """Check the tables of all executors in ``[run]``, the selected one or not."""
    for name, table in config.tables["run"].items():
        try:
            offer = plugins.get(_HOOK, name, f"[run.{name}]")
        except PluginError as error:
            problems.append(Problem(f"run.{name}", str(error)))
            continue
        if attrs.has(offer.cls):
            asked(offer.source, "__init__", partial(_with_options, config, offer.cls, name, problems))
        else:
            problems += [Problem(f"run.{name}.{o}", f"[run.{name}] {o}: {name} has no options") for o in table]


def _with_options(config: Config, cls: type[Any], name: str, problems: list[Problem]) -> Any:
    table: Mapping[str, Any] = config.tables["run"].get(name, {})
    if "workers" in table:
        where = f"run.{name}"
        problems.append(Problem(f"{where}.workers", f"[{where}] workers: give the number of workers in [run]"))
        return None
    return structure(cls, {"workers": config.run.workers, **table}, f"run.{name}", config.directory, problems)
