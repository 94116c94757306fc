"""Every option of every command is in the documentation."""

from __future__ import annotations

import importlib

import click
import pages
import pytest

from lcframework.cli.main import COMMANDS

_NAMES = ("pipeline.md", "getting_started.md", "writing_plugins.md", "injections.md", "watch.md")
PAGES = "".join(map(pages.read, _NAMES))


@pytest.mark.parametrize("name", COMMANDS)
def test_options(name: str) -> None:
    command: click.Command = importlib.import_module(f"lcframework.cli.{COMMANDS[name][0]}").command
    options = [o for p in pages.options(command) for o in (p.secondary_opts or p.opts) if o.startswith("--")]
    assert [o for o in options if o not in PAGES] == []
