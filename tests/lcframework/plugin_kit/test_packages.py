"""What `lcf plugins new` writes works as it stands: it loads, passes its own tests, and installs with pip."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fresh_environment
import pytest
import tomli

from lcframework import hookspecs
from lcframework.plugin_kit.kinds import KINDS, Kind, find_kind
from lcframework.plugin_kit.packages import RESERVED, checks, naming, package_files, write_package
from lcframework.plugins import Plugins
from lcframework.types import LcfError


def written(folder: Path, word: str, name: str = "") -> Path:
    """Write a package, and return its folder."""
    names = naming(find_kind(word), name or f"own_{word}", {})
    write_package(folder / names.package, package_files(names))
    return folder / names.package


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A package of each kind, whose modules can be imported."""
    folder = tmp_path_factory.mktemp("packages")
    found = {kind.word: written(folder, kind.word) for kind in KINDS}
    with pytest.MonkeyPatch.context() as patch:
        for path in found.values():
            patch.syspath_prepend(str(path))
        patch.setattr(sys, "dont_write_bytecode", True)
        yield found


def test_there_is_a_kind_for_every_hook() -> None:
    assert [k.hook for k in KINDS] == [name for name in vars(hookspecs) if name.startswith("lcf_")]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.word)
def test_each_is_healthy_and_says_what_to_look_at(kind: Kind, every: dict[str, Path]) -> None:
    package = tomli.loads((every[kind.word] / "pyproject.toml").read_text())
    ((point, module),) = package["project"]["entry-points"]["lcframework"].items()
    assert point == f"{kind.prefix}own_{kind.word}"
    (plugin,) = Plugins([(point, "own 1", lambda: importlib.import_module(module))]).plugins
    assert plugin.problems == []
    assert plugin.hooks == [kind.hook]
    files = {str(p.relative_to(every[kind.word])): p.read_text() for p in every[kind.word].rglob("*.*")}
    marked = {file for file, _, _ in checks(files)}
    assert {"pyproject.toml", "README.md", f"{module}.py"} <= marked
    assert not any("plugin_name" in text or "PluginClass" in text or "templates" in text for text in files.values())


def test_all_pass_their_own_tests(every: dict[str, Path]) -> None:
    there = os.pathsep.join([*map(str, every.values()), os.environ.get("PYTHONPATH", "")])
    folder = next(iter(every.values())).parent
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", "-W", "error", "."],
        cwd=folder, env={**os.environ, "PYTHONPATH": there}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-4000:]


def test_generated_code_is_tidy(every: dict[str, Path]) -> None:
    folder = next(iter(every.values())).parent
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E,F,UP,B", "--line-length", "120", folder]
    ended = subprocess.run(ruff, capture_output=True, text=True, check=False)
    assert "No module named" in ended.stderr or ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(
    ("word", "kind"),
    [("psf", "psf"), ("lcf_psf_models", "psf"), ("psf_models", "psf"), ("survey", "calibration"), ("stages", "stage"),
     ("setting-rule", "setting_rule"), ("panel", "report_panel"), ("solver", "plate_solving"), ("event", "listener")],
)  # fmt: skip
def test_kinds_have_several_words(word: str, kind: str) -> None:
    assert find_kind(word).word == kind


def test_unknown_kinds_are_refused_with_those_there_are() -> None:
    with pytest.raises(LcfError, match=r'"stag"; did you mean "stage"\? Kinds: header, '):
        find_kind("stag")


@pytest.mark.parametrize("name", ["Moffat!", "2mass", "", "_x", "a b", *RESERVED])
def test_names_that_can_not_be(name: str) -> None:
    with pytest.raises(LcfError):
        naming(find_kind("psf"), name, {})


def test_a_name_that_another_package_offers_is_refused() -> None:
    with pytest.raises(LcfError, match=r'lcf-other 1.2 offers a PSF model called "moffat" already'):
        naming(find_kind("psf"), "moffat", {"moffat": "lcf-other 1.2"})


@pytest.mark.parametrize(
    ("word", "name", "cls"),
    [("psf", "lcf-moffat", "Moffat"), ("psf", "two_part-name", "TwoPartName"), ("sources", "table", "TablePlugin"),
     ("stars", "true", "TruePlugin"), ("exporter", "path", "PathPlugin"),
     ("header", "header-info", "HeaderInfoPlugin")],
)  # fmt: skip
def test_classes_hide_nothing_that_the_module_imports(word: str, name: str, cls: str) -> None:
    assert naming(find_kind(word), name, {}).class_name == cls


def test_an_existing_folder_is_left_as_it_is(tmp_path: Path) -> None:
    folder = written(tmp_path, "psf", "mine")
    (folder / "lcf_mine.py").write_text("changed")
    with pytest.raises(LcfError, match="exists already"):
        written(tmp_path, "psf", "mine")
    assert (folder / "lcf_mine.py").read_text() == "changed"


def test_the_command_writes_and_lists(tmp_path: Path, lcf: Callable[..., Any]) -> None:
    ended = lcf("plugins", "new", "exporter", "columns", "--into", tmp_path)
    assert ended.code == 0, ended.err
    assert (tmp_path / "lcf-columns" / "lcf_columns.py").exists()
    assert "  README.md:5: say what it does" in ended.out
    assert f"  pip install -e {tmp_path / 'lcf-columns'}\n  lcf plugins check columns\n" in ended.out
    for words, message in (
        (("exporter", "csv"), 'lcframework 0.1.0 offers a format of light curves called "csv" already'),
        (("stage", "psf"), "lcframework (as a stage or a section) offers a stage"),
        (("stage", "my-stage"), 'such as "my_stage"'),
        (("command", "run"), 'offers a command called "run"'),
    ):
        ended = lcf("plugins", "new", *words, "--into", tmp_path)
        assert ended.code == 1
        assert message in ended.err
    assert lcf("plugins", "new", "psf", "x", "--frames", tmp_path, "--into", tmp_path).code == 2


@pytest.mark.slow
def test_it_installs_with_pip_and_is_found(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="pip install hatchling: packages are built by it")
    written(tmp_path, "calibration", "own")
    shell = fresh_environment.make(tmp_path / "environment", tmp_path)
    shell("pip install -e lcf-own")
    assert '[calibration] plugin = "own"' in shell("lcf plugins own")
    shell("pip uninstall -y -q lcf-own")
    shell("pip install ./lcf-own")  # also not editable
    assert "lcf-own 0.1.0" in shell("lcf plugins own")
