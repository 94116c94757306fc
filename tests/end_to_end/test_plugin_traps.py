"""Packages with one fault each beside a finished project: what `lcf run` says, and that other projects go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import programs
import pytest

SCRIPT = programs.benchmark("plugin_traps")
IN_RUNS = [trap for trap in SCRIPT.TRAPS if trap.shows == SCRIPT.RUN]


@pytest.mark.slow
@pytest.mark.parametrize("trap", IN_RUNS, ids=lambda t: t.title)
def test_a_fault_is_told_of_the_plugin(trap: Any, campaign: Any, tmp_path: Path) -> None:
    seen, others_go_on = SCRIPT.spring(trap, campaign.folder, tmp_path)
    assert trap.words in seen
    assert others_go_on
