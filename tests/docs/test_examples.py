"""What the documentation prints works: TOML is valid, Python compiles or runs, commands and links exist."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import click
import pages
import pytest
import tomli
from astropy.io import fits

from lcframework.cli.main import COMMANDS, lcf
from lcframework.config.project_file import load
from lcframework.config.sections import SECTIONS
from lcframework.config.toolbox import select
from lcframework.plugins import Plugins
from lcframework.stages import CHAIN
from lcframework.testing import check_calibration_survey

PAGES = sorted(
    [p.relative_to(pages.ROOT) for p in pages.DOCS.glob("*.md")]
    + [p.relative_to(pages.ROOT) for p in pages.ROOT.glob("*.md")]
    + [p.relative_to(pages.ROOT) for p in pages.ROOT.glob("plugin_examples/*/README.md")]
)
EXAMPLES = sorted(pages.DOCS.glob("*/project.toml"))
REGION = "[roi.added]\nra = 1.0\ndec = 1.0\n"


def text_of(page: Path) -> str:
    return (pages.ROOT / page).read_text(encoding="utf-8")


def tomls() -> list[Any]:
    """Return every TOML block that is a project file, or a part of one."""
    found = []
    for page in PAGES:
        for i, text in enumerate(pages.blocks(text_of(page), "toml")):
            if set(tomli.loads(text)) <= {*SECTIONS, "roi", "instrument"} and "entry-points" not in text:
                found.append(pytest.param(text, id=f"{page}-{i}"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_toml_parses_and_python_compiles(page: Path) -> None:
    for text in pages.blocks(text_of(page), "toml"):
        tomli.loads(text)
    for text in pages.blocks(text_of(page), "python"):
        compile(text, str(page), "exec")


@pytest.mark.parametrize("text", tomls())
def test_projects_are_valid(text: str, tmp_path: Path) -> None:
    path = tmp_path / "project.toml"
    path.write_text(text if "[roi." in text else f"{text}\n{REGION}")
    load(path)


def with_examples(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    """Return the built-in plugins and those of plugin_examples/."""
    points = {p.name: p.module for p in pages.builtin_plugins().plugins if p.healthy}
    for package in pages.ROOT.glob("plugin_examples/*/pyproject.toml"):
        monkeypatch.syspath_prepend(str(package.parent))
        points |= tomli.loads(package.read_text())["project"]["entry-points"]["lcframework"]
    return Plugins([(n, "here", lambda v=v: importlib.import_module(v)) for n, v in points.items()])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.parent.name)
def test_example_projects_select_their_plugins(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    select(load(path), with_examples(monkeypatch))


def test_the_worked_example_prints_its_project_file() -> None:
    whole = tomli.loads((pages.ROOT / "docs/hatp32/project.toml").read_text())
    for text in pages.blocks(pages.read("hatp32.md"), "toml"):
        assert contained(tomli.loads(text), whole)


def contained(part: Any, whole: Any) -> bool:
    if not isinstance(part, dict):
        return bool(part == whole)
    return all(key in whole and contained(value, whole[key]) for key, value in part.items())


def test_the_plugin_of_the_readme_keeps_its_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = next(t for t in pages.blocks(pages.read("README.md"), "python") if "hookimpl" in t)
    (tmp_path / "readme_plugin.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    plugins = Plugins([("survey-readme", "here", lambda: importlib.import_module("readme_plugin"))])
    assert plugins.plugins[0].problems == []
    check_calibration_survey(plugins.get("lcf_calibration_surveys", "catalogue").cls(), unknown_band=None)


def test_the_printed_header_function_works() -> None:
    text = next(t for t in pages.blocks(pages.read("getting_started.md"), "python") if "def parse_header" in t)
    module: dict[str, Any] = {}
    exec(text, module)
    header = fits.Header([("OBSTART", "2024-03-01T02:00:00"), ("EXPTIME", 60.0), ("GAIN", 1.5)])
    assert module["parse_header"](header) == {"exptime": 60.0, "gain": 1.5, "mjd": pytest.approx(60370 + 2 / 24)}


def of_examples() -> set[str]:
    """Return the commands that example packages offer."""
    files = [tomli.loads(path.read_text()) for path in pages.ROOT.glob("plugin_examples/*/pyproject.toml")]
    points = [name for file in files for name in file["project"]["entry-points"]["lcframework"]]
    return {name.removeprefix("command.") for name in points if name.startswith("command.")}


@pytest.mark.parametrize("page", [p for p in PAGES if p.parts[0] != "plugin_examples"], ids=str)
def test_commands_exist(page: Path) -> None:
    for command, rest in re.findall(r"(?:^|[`(] ?)lcf ([a-z]+)\b([^\n`]*)", text_of(page), re.MULTILINE):
        if command in of_examples():
            continue
        assert command in COMMANDS, command
        known = {o for p in pages.options(lcf.get_command(click.Context(lcf), command)) for o in p.opts}
        assert set(re.findall(r"--[a-z-]+", rest.split("#")[0])) <= known, rest


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_stage_names_exist(page: Path) -> None:
    names = {s.name for s in CHAIN}
    assert set(re.findall(r"--(?:start|stop|force) ([a-z_]+)", text_of(page))) <= names


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text_of(page)):
        if "://" not in target:
            assert ((pages.ROOT / page).parent / target).exists(), target


def test_the_readme_shows_the_chain() -> None:
    found = re.findall(r"^  [│▼]  (\w+) ", pages.read("README.md"), re.MULTILINE)
    assert found == [s.name for s in CHAIN if s.name != "initialize_database"]
