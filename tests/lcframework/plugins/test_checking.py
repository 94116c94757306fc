"""Every seam is checked when plugins are loaded: what is broken is told with place and cure, and harms nobody."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import programs
import pytest

from lcframework.config.sections import SECTIONS
from lcframework.executors import Executor
from lcframework.plugins import Found, Plugins
from lcframework.plugins.checking import CALLED
from lcframework.plugins.names import SECTION_NAMES, STAGES
from lcframework.stages import CHAIN
from lcframework.types import PluginError

SCRIPT_TRAPS = programs.benchmark("plugin_traps")
AT_LOAD = [
    t
    for t in SCRIPT_TRAPS.TRAPS
    if t.shows == SCRIPT_TRAPS.PLUGINS and not any(w in t.title for w in ("command", "rule for", "two entry points"))
]  # fmt: skip


def load(code: str, folder: Path, entry: Any = "trap", built_in: str = "") -> Plugins:
    """Load a module's text as a plugin, beside one that is right."""
    (folder / "trap_plugin.py").write_text(code)
    (folder / "good_plugin.py").write_text(SCRIPT_TRAPS.SURVEY.replace('"trap"', '"good"'))

    def loader(name: str, attribute: str = "") -> Any:
        spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return getattr(module, attribute) if attribute else module

    entries = [f"{entry} = trap_plugin"] if isinstance(entry, str) else entry
    found = [Found("good", "lcf-good 1.0", lambda: loader("good_plugin"), "good_plugin")]
    for one in entries:
        name, _, value = one.partition(" = ")
        found.append(
            Found(name, built_in or "lcf-trap 1.0", lambda v=value: loader(*v.split(":")), "trap_plugin")  # type: ignore[misc]
        )
    return Plugins(found)


@pytest.mark.parametrize("trap", AT_LOAD, ids=lambda t: t.title)
def test_what_is_broken_is_told_and_disables_nothing_but_itself(trap: Any, tmp_path: Path) -> None:
    plugins = load(trap.code, tmp_path, trap.entry)
    assert plugins.names("lcf_calibration_surveys")[:1] == ["good"]
    broken = [p for p in plugins.plugins if p.problems]
    if not trap.words:
        assert broken == []
        return
    (problem, *_) = broken[0].problems
    assert trap.words in problem
    assert all(not p.offers for p in broken)
    if "does not load" not in problem or "SyntaxError" in problem:
        assert str(tmp_path / "trap_plugin.py") + ", line " in problem or "can't be found" in problem


def test_a_syntax_error_has_its_line(tmp_path: Path) -> None:
    (plugin,) = (p for p in load("x = 1\ndef f(:\n", tmp_path).plugins if p.problems)
    assert f"({tmp_path / 'trap_plugin.py'}, line 2)" in plugin.problems[0]


def test_other_classes_of_a_module_remain(tmp_path: Path) -> None:
    code = SCRIPT_TRAPS.SURVEY.replace('{"trap": Trap}', '{"trap": Trap, "none": Trap}')
    plugins = load(code, tmp_path)
    assert plugins.names("lcf_calibration_surveys") == ["good", "trap"]


def test_of_two_stages_of_one_name_the_project_says_whose(tmp_path: Path) -> None:
    plugins = load(SCRIPT_TRAPS.STAGE, tmp_path, ("trap = trap_plugin", "twin = trap_plugin"))
    assert plugins.names("lcf_stages") == ["trap:trap", "twin:trap"]
    assert plugins.get("lcf_stages", "twin:trap").plugin == "twin"
    with pytest.raises(PluginError, match='Say whose: "trap:trap" or "twin:trap"'):
        plugins.get("lcf_stages", "trap")


def test_a_module_is_loaded_once(tmp_path: Path) -> None:
    plugins = load(SCRIPT_TRAPS.STAGE, tmp_path)
    plugins = plugins.joined([("again", "lcf-trap 1.0", lambda: sys.modules["trap_plugin"])])
    assert plugins.plugins[-1].problems[0].startswith("its module trap_plugin is also that of trap: name it once (")
    assert plugins.names("lcf_stages") == ["trap"]


def test_a_third_partys_rule_yields_to_a_built_in_one(tmp_path: Path) -> None:
    theirs = load(SCRIPT_TRAPS.RULE, tmp_path)
    assert theirs.names("lcf_setting_rules") == ["trap"]
    ours = types.SimpleNamespace(**vars(sys.modules["trap_plugin"]))
    theirs = theirs.joined([("setting-own", "lcframework 1.0", lambda: ours)])
    assert theirs.plugins[-1].healthy
    (problem,) = next(p.problems for p in theirs.plugins if p.origin == "lcf-trap 1.0")
    assert "psf.stars is decided by setting-own (lcframework 1.0) already: [plugins] disable" in problem


def test_names_that_plugins_cant_take_are_those_in_use() -> None:
    assert tuple(stage.name for stage in CHAIN) == STAGES
    assert set(SECTION_NAMES) == {*SECTIONS, "roi", "instrument"}


def test_executors_are_checked_by_their_protocol() -> None:
    import inspect

    for name, parameters in CALLED["lcf_executors"].items():
        own = [p for p in inspect.signature(getattr(Executor, name)).parameters if p != "self"]
        assert tuple(own) == parameters
