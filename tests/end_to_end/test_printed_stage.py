"""The stage that docs/writing_plugins.md prints, installed and run on a campaign that had run before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pages
import pytest


@pytest.mark.slow
def test_the_printed_stage_takes_part(campaign: Any, install: Callable[..., Path], lcf: Callable[..., Any]) -> None:
    blocks = pages.blocks(pages.read("writing_plugins.md"), "python")
    code = next(b for b in blocks if b.startswith("# lcf-period/lcf_period.py"))
    install("lcf-period", code, {"stage-period": "lcf_period"})
    campaign.edit("[run]\n", '[run]\nstages = ["period"]\n')
    campaign.run("--stop", "model_calibrated_cutouts")  # the files were moved
    assert campaign.done() == {"period": 1}
    found = json.loads((campaign.folder / "periods/QUAD.json").read_text())
    assert found["epochs"] == len(campaign.curve())
    assert campaign.done() == {}
    campaign.append("[period]\nlongest = 50.0")
    assert campaign.pending() == {"period": ["stage_options.longest: 100.0 -> 50.0"]}
    assert campaign.done() == {"period": 1}
    (campaign.folder / "periods/QUAD.json").unlink()
    assert campaign.done() == {"period": 1}
    assert campaign.done("--force", "model_calibrated_cutouts") == {"model_calibrated_cutouts": 2, "period": 1}
