"""docs/pipeline.md has every stage in order, with what it needs and makes."""

from __future__ import annotations

import pages
import pytest

from lcframework.stages import CHAIN
from lcframework.work import Stage

PAGE = pages.read("pipeline.md")


def test_stages_are_there_in_order() -> None:
    names = [s.name for s in CHAIN]
    assert [s.title for s in pages.sections(PAGE) if s.level == 2][: len(names)] == names


@pytest.mark.parametrize("stage", CHAIN, ids=lambda s: s.name)
def test_needs_and_makes(stage: type[Stage]) -> None:
    rows = {row[0]: row[1] for row in pages.section(PAGE, stage.name).table()}
    assert rows["needs"] == (", ".join(f"`{n}`" for n in stage.needs) or "nothing")
    assert rows["makes"] == ", ".join(f"`{m}`" for m in stage.makes)
    assert rows["unit"]
    assert rows["out of date when"]
