"""The changes that the benchmark of the tests makes: each is one change, and the file stays one that Python reads."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import programs
import pytest

REPOSITORY = Path(__file__).parents[2]
SOURCE = '''"""Text with 1 + 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    X = 1 + 2

results_version = 7


def scaled(a: "Float[2]", é: float = 0.5) -> float:
    """Return 3 * 4."""
    if not a > é:
        raise ValueError(f"{a - 1} is too small" + "2")
    return (a.sum(axis=0) + é *
            2) / -a
'''


@pytest.fixture(scope="module")
def mutations() -> ModuleType:
    return programs.benchmark("mutations")


def test_known_changes(mutations):
    found = [(m.line, m.before, m.after) for m in mutations.mutations(Path("a.py"), SOURCE)]
    product = "é *\n            2"
    assert sorted(found) == sorted(
        [
            (13, "0.5", "1.0"),
            (15, "not a > é", "a > é"),
            (15, "a > é", "a < é"),
            (17, f"(a.sum(axis=0) + {product}) / -a", "(a.sum(axis=0) + é * 2) * -a"),
            (17, f"a.sum(axis=0) + {product}", "a.sum(axis=0) - é * 2"),
            (17, product, "é / 2"),
            (17, "0", "1"),
            (18, "2", "3"),
            (18, "-a", "a"),
        ]
    )


def test_each_is_applied_alone_and_can_be_read(mutations):
    path = REPOSITORY / "lcframework" / "roi" / "registration.py"
    source = path.read_text()
    tree = ast.dump(ast.parse(source))
    every = mutations.mutations(path, source)
    assert len(every) > 40
    for mutation in every:
        changed = mutation.applied(source)
        assert ast.dump(ast.parse(changed)) != tree
        assert changed.count("\n") >= source.count("\n") - mutation.before.count("\n")
