"""A project whose chain holds the toy stages of ``toy_stages.py``, installed as a plugin."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from lcframework.project import Project

TOY_STAGES = Path(__file__).with_name("toy_stages.py").read_text()


class Toys:
    """A project whose chain holds the toys."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "raw").mkdir(parents=True)
        self.path = folder / "project.toml"
        self.write()

    def write(self, toy="", run="workers = 1"):
        regions = "[roi.X]\nra = 1.0\ndec = 2.0\n[roi.Y]\nra = 1.0\ndec = 2.1\n"
        self.path.write_text(f'{regions}[run]\nstages = ["toy", "toy_sum"]\n{run}\n[toy]\n{toy}\n')

    def plan(self, **actions):
        """Say which units misbehave, and how."""
        (self.folder / "plan.json").write_text(json.dumps(actions))

    def run(self, stop="toy_sum", force=(), listeners=(), **only):
        return Project.open(self.path).run(stop=stop, force=force, listeners=listeners, **only)

    def done(self, *arguments, **named):
        """Run, and return how many units each stage made."""
        return {s.name: s.done for s in self.run(*arguments, **named).stages if s.done}

    def made(self):
        """Return how often each toy was made."""
        return {name: len(lines) for name, lines in self.lines().items()}

    def lines(self):
        """Return, for each toy, a line for each time it was made: its value, the process and how many threads."""
        return {p.name: p.read_text().splitlines() for p in sorted((self.folder / "toys").glob("*"))}

    def workers(self):
        """Return the numbers of the processes that made toys."""
        return {line.split()[1] for lines in self.lines().values() for line in lines}

    def tokens(self):
        query = "select unit, token from products where stage = 'toy'"
        with contextlib.closing(sqlite3.connect(self.folder / "database.sqlite3")) as connection, connection:
            return dict(connection.execute(query).fetchall())

    def status(self):
        return {s.name: s for s in Project.open(self.path).status().stages}


@pytest.fixture
def toys(install, tmp_path):
    install("lcf-toys", TOY_STAGES, {"toys": "lcf_toys"})
    return Toys(tmp_path / "project")


@pytest.fixture
def lost_toys(install, tmp_path):
    """Return a project with toys that come after a stage that is not there."""
    install("lcf-lost", TOY_STAGES.replace('"initialize_database"', '"initialise_database"'), {"lost": "lcf_lost"})
    return Toys(tmp_path / "project")


@pytest.fixture
def stop_after():
    """Return a function that makes listeners which interrupt the run after a unit."""

    def listeners(label):
        def interrupt(event):
            if event.kind == "unit_done" and event.unit == label:
                raise KeyboardInterrupt

        return [interrupt]

    return listeners
