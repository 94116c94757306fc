"""Which tests a mutant meets: those that run its line, the quickest first, within the budget."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import programs
import pytest

MODULE = Path("a.py")
SOURCE = """LIMIT = 3


def wide(x):
    if x > LIMIT:
        return (
            x + 1
        )
    return 0
"""
QUICK, SLOW, OF_FIXTURE = ("t.py::quick",), ("t.py::slow",), ("u.py::second", "u.py::first")


@pytest.fixture(scope="module")
def covering() -> ModuleType:
    return programs.benchmark("covering_tests")


@pytest.fixture
def recorded(covering: ModuleType) -> Any:
    seconds = {"t.py::quick": 0.1, "t.py::slow": 5.0, "u.py::first": 3.0, "u.py::second": 0.2, "v.py::other": 0.1}
    lines = {
        1: {""},
        4: {""},
        5: {"t.py::quick|run", "t.py::slow|run", "u.py::first|setup"},
        6: {"t.py::slow|run"},
        9: {"t.py::quick|run"},
    }
    return covering.Covering(seconds, {"a.py": {line: frozenset(found) for line, found in lines.items()}})


@pytest.mark.parametrize(
    ("line", "tests"),
    [
        (5, [QUICK, OF_FIXTURE, SLOW]),  # what ran in a fixture is seen by all tests of its file
        (7, [SLOW]),  # a statement is recorded by its start
        (1, [QUICK, OF_FIXTURE, SLOW]),  # what runs at the import is seen by all tests of the module
    ],
)
def test_the_tests_that_see_a_line(recorded, line, tests):
    assert [group.tests for group in recorded.groups(MODULE, line, SOURCE)] == tests


def test_no_test_runs_an_unknown_file(recorded):
    assert recorded.groups(Path("b.py"), 5, SOURCE) == []


def test_the_budget_holds_at_least_one(recorded):
    within = programs.benchmark("mutation_testing").within
    groups = recorded.groups(MODULE, 5, SOURCE)
    assert [len(within(groups, budget)) for budget in (0.01, 1.0, 3.4, 100.0)] == [1, 1, 2, 3]
