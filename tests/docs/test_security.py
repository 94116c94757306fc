"""docs/security.md names only tests that there are."""

from __future__ import annotations

import re

import pages


def test_the_tests_that_hold_the_promises() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", pages.read("security.md"))
    assert len(named) >= 8
    assert [name for name in named if not (pages.ROOT / name).exists()] == []
