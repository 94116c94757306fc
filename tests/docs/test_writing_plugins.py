"""The packages that docs/writing_plugins.md makes work as they are printed."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pages
import pytest
import tomli

import lcframework.testing
from lcframework.config.project_file import load
from lcframework.config.toolbox import select
from lcframework.plugins import Plugins

PAGE = pages.read("writing_plugins.md")


def files(language: str) -> dict[str, str]:
    """Return the blocks whose first line names the file that they are."""
    named = ((re.match(r"# (\S+\.(?:py|toml))\n", text), text) for text in pages.blocks(PAGE, language))
    return {match[1]: text for match, text in named if match}


MODULES = files("python")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder with every Python file of the page, importable."""
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    yield tmp_path
    for name in MODULES:
        sys.modules.pop(Path(name).stem, None)


def imported(name: str) -> ModuleType:
    return importlib.import_module(Path(name).stem)


def test_every_python_block_is_a_file() -> None:
    assert len(MODULES) == len(pages.blocks(PAGE, "python")) >= 4


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("test_")])
def test_the_printed_tests_pass(name: str, folder: Path) -> None:
    module = imported(name)
    tests = [value for key, value in vars(module).items() if key.startswith("test_")]
    assert tests
    for test in tests:
        test()


def test_the_entry_point_leads_to_a_healthy_plugin(folder: Path) -> None:
    package = tomli.loads(files("toml")["pyproject.toml"])
    points = package["project"]["entry-points"]["lcframework"]
    assert package["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [f"{v}.py" for v in points.values()]
    plugins = Plugins([(n, "here", lambda v=v: imported(v)) for n, v in points.items()])
    assert [p.problems for p in plugins.plugins] == [[]]
    assert plugins.names("lcf_calibration_surveys") == ["ownfilter"]


def test_the_header_parser_is_healthy(folder: Path) -> None:
    plugins = Plugins([("header-hilltop", "here", lambda: imported("lcf_hilltop.py"))])
    assert plugins.plugins[0].healthy
    assert plugins.names("lcf_header_parsers") == ["hilltop"]


def test_the_stage_is_healthy(folder: Path) -> None:
    plugins = Plugins([("stage-period", "here", lambda: imported("lcf_period.py"))])
    assert plugins.plugins[0].healthy
    assert plugins.names("lcf_stages") == ["period"]


def test_the_printed_project_selects_the_survey(folder: Path) -> None:
    texts = [t for t in pages.blocks(PAGE, "toml") if "[roi." in t]
    (folder / "project.toml").write_text(texts[0] + '[roi_model]\nplugin = "none"\n')
    builtin = [(p.name, "lcframework", lambda p=p: importlib.import_module(p.module))
               for p in pages.builtin_plugins().plugins if p.healthy]  # fmt: skip
    plugins = Plugins([*builtin, ("survey-ownfilter", "here", lambda: imported("lcf_ownfilter.py"))])
    tool = select(load(folder / "project.toml"), plugins).tool("calibration")
    assert tool is not None
    assert (tool.name, tool.instance.slope) == ("ownfilter", 0.065)


def test_the_page_names_every_check() -> None:
    named = set(re.findall(r"`(check_\w+)`", PAGE))
    assert named == {n for n in lcframework.testing.__all__ if n.startswith("check_")}
