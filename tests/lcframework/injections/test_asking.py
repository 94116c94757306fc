from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lcframework import Project
from lcframework.injections.asking import ask
from lcframework.testing import example_project
from lcframework.testing.finished_project import ROI
from lcframework.types import LcfError


def test_a_target_that_moves_is_refused(tmp_path: Path) -> None:
    path = example_project(tmp_path / "example")
    motion = f'ephemeris = "proper_motion"\n[roi.{ROI}.proper_motion]\npmra = 0.0\npmdec = 500.0\nref_epoch = 2016.0\n'
    text = path.read_text()
    path.write_text(text.replace(f"[roi.{ROI}.point_sources]", f"{motion}[roi.{ROI}.point_sources]"))
    with pytest.raises(LcfError, match=rf'\[roi.{ROI}\] moves \(ephemeris = "proper_motion"\).*`--roi`'):
        ask(Project.open(path), ROI, None, np.random.default_rng(1))
