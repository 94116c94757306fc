"""Which decisions concern a number."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lcframework.ancestry.doubtful import decisions
from lcframework.settings.states import SettingState


@pytest.mark.parametrize("roi", ["Q", "GRB.240101", "GRB.240102"])
def test_settings_of_other_regions_are_left_out_whatever_their_names(roi: str) -> None:
    regions = ("Q", "GRB.240101", "GRB.240102")
    states = [SettingState("", f"roi.{name}.exclusion_radius", 3.0, "frames", "so") for name in regions]
    states.append(SettingState("", "stamps.roi_size", 32, "frames", "so"))
    records: Any = SimpleNamespace(around=SimpleNamespace(decisions=states))
    found = decisions(records, SimpleNamespace(instrument="Cam"), roi)
    assert [d["setting"] for d in found.data] == [f"roi.{roi}.exclusion_radius", "stamps.roi_size"]
