"""The real frames of HAT-P-32, from raw files to the transit: docs/hatp32.md as a test."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from sqlmodel import select

from lcframework.plugins import Plugins
from lcframework.project import Project
from lcframework.storage.tables import StarResidual

pytestmark = pytest.mark.slow
EXAMPLE = Path(__file__).parents[2] / "docs" / "hatp32"
DATA = os.environ.get("LCF_HATP32", "")


def test_the_transit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not DATA or not (Path(DATA) / "raw").is_dir():
        pytest.skip("set LCF_HATP32 to the folder of the HAT-P-32 frames, which holds raw/")
    if shutil.which("solve-field") is None or not list(Path("/usr/share/astrometry").glob("index-tycho2-*.fits")):
        pytest.skip("Astrometry.net and its Tycho-2 index files are needed: ./install-system-packages.sh")
    if "microobservatory" not in Plugins.installed().names("lcf_header_parsers"):
        pytest.skip("pip install plugin_examples/lcf-microobservatory")
    pytest.importorskip("batman", reason="pip install batman-package")
    monkeypatch.setattr(sys, "path", [str(EXAMPLE), *sys.path])
    from fit_transit import PUBLISHED_RADIUS_RATIO, fit_transit

    shutil.copy(EXAMPLE / "project.toml", tmp_path)
    project = Project.open(tmp_path / "project.toml")
    report = project.run()
    assert report.exit_code in (0, 3), report.message
    frames = project.frames()
    assert len(frames) == 142
    assert frames["plate_solved"].sum() == 142
    table = project.light_curve_table()
    assert len(table) >= 135
    transit = fit_transit(table)
    assert abs(transit.delay) < 3 * transit.delay_error
    assert abs(transit.radius_ratio - PUBLISHED_RADIUS_RATIO) < 3 * transit.radius_ratio_error
    # Aperture photometry of the same frames gives 4.3 to 5.0; the scatter of some 80 epochs is known to 8 %.
    assert transit.scatter_out_of_transit < 5.0
    assert transit.delay_error < 1.4
    assert transit.radius_ratio_error < 0.0042
    # Errors are true: of the target, and of the comparison stars.
    assert 0.85 < transit.stated_error / transit.scatter_out_of_transit < 1.15
    assert 0.85 < transit.pull_out_of_transit < 1.15
    with project.session() as session:
        stars = session.exec(select(StarResidual).where(StarResidual.used)).all()
    pull = np.array([s.residual / s.residual_error for s in stars])
    assert len(pull) > 1500
    assert 0.9 < pull.std() < 1.15
    again = Project.open(tmp_path / "project.toml").run()
    assert again.units_done == 0
