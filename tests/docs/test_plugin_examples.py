"""The example packages: tables list them all, and each is complete, small and healthy."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pages
import pytest
import tomli

from lcframework.plugins import Plugins

PACKAGES = sorted(p.parent for p in pages.ROOT.glob("plugin_examples/*/pyproject.toml"))
TABLES = {
    "README of plugin_examples": pages.ROOT / "plugin_examples/README.md",
    "writing_plugins": pages.DOCS / "writing_plugins.md",
}


@pytest.mark.parametrize("table", TABLES)
def test_the_table_lists_every_package(table: str) -> None:
    rows = [line for line in TABLES[table].read_text().splitlines() if line.startswith("|")]
    listed = [name for row in rows for name in re.findall(r"^\|[^|]*\|[^|]*?[`\[](lcf-[a-z0-9]+)[`\]]", row)]
    assert sorted(listed) == [p.name for p in PACKAGES]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
def test_a_package_is_complete_and_healthy(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomli.loads((package / "pyproject.toml").read_text())["project"]
    assert project["name"] == package.name
    assert (package / project["readme"]).is_file()
    assert list(package.glob("tests/test_*.py"))
    monkeypatch.syspath_prepend(str(package))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    points = {n: m for n, m in project["entry-points"]["lcframework"].items() if not n.startswith("command.")}
    plugins = Plugins([(n, "here", lambda m=m: importlib.import_module(m)) for n, m in points.items()])
    assert {p.name: p.problems for p in plugins.plugins} == {name: [] for name in points}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
def test_its_modules_can_be_read_at_a_glance(package: Path) -> None:
    for module in [*package.glob("*.py"), *package.glob("lcf_*/*.py")]:
        assert len(module.read_text().splitlines()) <= 200, module.name
