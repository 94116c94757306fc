"""Which tests run which lines, and how long each takes: recorded once, so that a mutant meets those that can see it.

`python -m pytest -p covering_tests --record-lines FOLDER --cov=... --cov-context=test` records them, on top of
pytest-cov. What ran while fixtures were set up may be noticed by any test of that file, what ran while a module was
imported by any test that runs the module.
"""

from __future__ import annotations

import ast
import collections
import json
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest
from coverage import CoverageData

LINES = "lines.sqlite"
SECONDS = "seconds.json"


@attrs.frozen
class Group:
    """Tests that are run together, in this order, and the seconds that they take: one test, or all of a file."""

    tests: tuple[str, ...]
    seconds: float

    @property
    def file(self) -> str:
        """The file of the tests."""
        return self.tests[0].partition("::")[0]


@attrs.frozen
class Covering:
    """What was recorded of the tests.

    Attributes
    ----------
    seconds : mapping from str to float
        What each test takes, with the fixtures that it was the first to ask for.
    contexts : mapping from str to mapping from int to frozenset of str
        By file and line, what ran the line: `test|run`, `test|setup`, or nothing, while the file was imported.
    """

    seconds: Mapping[str, float]
    contexts: Mapping[str, Mapping[int, frozenset[str]]]

    @classmethod
    def read(cls, folder: Path, repository: Path) -> Covering:
        """Return what was recorded in a folder of a repository's tests.

        Raises
        ------
        SystemExit
            Where tests failed.
        """
        recorded = json.loads((folder / SECONDS).read_text())
        if recorded["failed"]:
            failed = "\n  ".join(recorded["failed"])
            raise SystemExit(f"nothing can be learnt from tests that fail without a mutation:\n  {failed}")
        data = CoverageData(str(folder / LINES))
        data.read()
        contexts = {
            Path(name).resolve().relative_to(repository.resolve()).as_posix(): {
                line: frozenset(found) for line, found in data.contexts_by_lineno(name).items()
            }
            for name in data.measured_files()
        }
        return cls(recorded["seconds"], contexts)

    def groups(self, path: Path, line: int, source: str) -> list[Group]:
        """Return the tests that can notice a change of a line of a file's source, the quickest first."""
        of_file = self.contexts.get(path.as_posix(), {})
        if _in_a_function(ast.parse(source), line):
            before = [recorded for recorded in of_file if recorded <= line]  # a statement may be recorded by its start
            contexts = of_file[max(before)] if before else frozenset()
        else:
            contexts = frozenset[str]().union(*of_file.values())
        files, tests = set(), set()
        for context in contexts:
            test, _, when = context.partition("|")
            if when == "run":
                tests.add(test)
            elif test:
                files.add(test.partition("::")[0])
        groups = [Group((t,), self.seconds.get(t, 0.0)) for t in tests if t.partition("::")[0] not in files]
        for file in files:
            own = sorted((s, t) for t, s in self.seconds.items() if t.partition("::")[0] == file)
            groups.append(Group(tuple(t for _, t in own), sum(s for s, _ in own)))
        return sorted(groups, key=lambda g: (g.seconds, g.tests))


def _in_a_function(tree: ast.AST, line: int) -> bool:
    """Return whether a line runs when a function is called, and not when the file is imported."""
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.Lambda)]
    bodies = [f.body if isinstance(f, ast.FunctionDef) else [f.body] for f in functions]
    return any(body[0].lineno <= line <= (body[-1].end_lineno or 0) for body in bodies)


class _Recorder:
    """Notes the seconds of each test, and which fail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds: dict[str, float] = collections.defaultdict(float)
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a part of a test."""
        if report.skipped:
            return
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Write what was noted."""
        text = json.dumps({"seconds": self.seconds, "failed": sorted(set(self.failed))}, indent=1)
        (self.folder / SECONDS).write_text(text)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that switches this on."""
    parser.addoption("--record-lines", metavar="FOLDER", help="where to record seconds of tests")


def pytest_configure(config: pytest.Config) -> None:
    """Record in the process that sees the reports of all others."""
    folder = config.getoption("--record-lines")
    if folder and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Recorder(Path(folder)), "lines-recorder")
