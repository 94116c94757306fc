"""Packages with one fault each beside a finished project: what `lcf run` says, and that other projects go on."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest


def _script() -> Any:
    path = Path(__file__).parents[2] / "benchmarks" / "plugin_traps.py"
    spec = importlib.util.spec_from_file_location("plugin_traps", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["plugin_traps"] = module
    spec.loader.exec_module(module)
    return module


SCRIPT = _script()
IN_RUNS = [trap for trap in SCRIPT.TRAPS if trap.shows == SCRIPT.RUN]


@pytest.mark.slow
@pytest.mark.parametrize("trap", IN_RUNS, ids=lambda t: t.title)
def test_a_fault_is_told_of_the_plugin(trap: Any, campaign: Any, tmp_path: Path) -> None:
    seen, others_go_on = SCRIPT.spring(trap, campaign.folder, tmp_path)
    assert trap.words in seen
    assert others_go_on
