"""A small finished project with made-up products, and what its numbers come from."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import attrs
import pytest

from lcframework import Project
from lcframework.ancestry import Ancestry, Asked, Surroundings, Tracer
from lcframework.plugins import Plugins
from lcframework.testing import example_project
from lcframework.testing.finished_project import ROI


@attrs.frozen
class Example:
    """A project of a test's own."""

    folder: Path
    plugins: Plugins

    def open(self) -> Project:
        return Project.open(self.folder / "project.toml", self.plugins)

    def sql(self, *statements: str) -> None:
        connection = sqlite3.connect(self.folder / "database.sqlite3")
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    def edit(self, old: str, new: str) -> None:
        path = self.folder / "project.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def ancestry(self, frame: int = 2, source: str = "A", contents: bool = True) -> Ancestry:
        project = self.open()
        with project.session() as session:
            return Tracer(session, Surroundings(project, session), [frame], contents).ancestry(
                Asked(ROI, source, frame)
            )

    def json(self, frame: int = 2, source: str = "A") -> dict[str, Any]:
        return self.ancestry(frame, source).as_json()


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    """What is installed, loaded once."""
    return Plugins.installed()


@pytest.fixture(scope="session")
def finished_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's folder, not to be changed."""
    folder = tmp_path_factory.mktemp("why") / "example"
    example_project(folder)
    return folder


@pytest.fixture
def example(finished_example: Path, tmp_path: Path, plugins: Plugins) -> Example:
    """A project of a test's own."""
    shutil.copytree(finished_example, tmp_path / "example")
    return Example(tmp_path / "example", plugins)
