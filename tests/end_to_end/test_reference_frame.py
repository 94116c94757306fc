"""Frames without a WCS are solved by one that has it, in the same run, and stay solved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from lcframework.project import Project
from lcframework.storage.frame_files import read_wcs
from lcframework.testing.campaign import simulate_campaign

WCS_KEYWORDS = (
    "CTYPE",
    "CRVAL",
    "CRPIX",
    "CD1_",
    "CD2_",
    "CUNIT",
    "CDELT",
    "PC1_",
    "PC2_",
    "RADESYS",
    "EQUINOX",
    "WCSAXES",
)


def test_frames_are_solved_by_another(tmp_path: Path) -> None:
    pytest.importorskip("galsim", reason="the simulation needs galsim")
    simulate_campaign(tmp_path, frames=3, size=700, stars=25, faint_stars=40, cosmic_rays=False)
    raw = sorted((tmp_path / "raw").glob("*.fits"))
    truth = {}
    for path in raw[1:]:
        with fits.open(path, mode="update") as hdus:
            truth[path.stem] = WCS(hdus[0].header)
            for key in [k for k in hdus[0].header if k.startswith(WCS_KEYWORDS)]:
                del hdus[0].header[key]
    text = (tmp_path / "project.toml").read_text()
    assert 'plugin = "existing"' in text
    (tmp_path / "project.toml").write_text(
        text.replace('plugin = "existing"', 'plugin = ["existing", "reference-frame"]\nmax_anisotropy = 0.05')
    )
    project = Project.open(tmp_path / "project.toml")
    report = project.run(stop="plate_solving")
    assert report.exit_code == 0, report
    frames = project.frames()
    assert list(frames["solver"]) == ["existing", "reference-frame", "reference-frame"]
    x, y = np.meshgrid(np.linspace(100, 600, 5), np.linspace(100, 600, 5))
    for stem, expected in truth.items():
        sky = read_wcs(tmp_path / "frames" / f"{stem}.wcs").all_pix2world(x, y, 0)
        back = np.array(expected.all_world2pix(*sky, 0))
        # The headers themselves are off by 0.1 to 0.3 pixel (the simulation's wcs_error), each on its own.
        assert np.abs(back - np.array([x, y])).max() < 1.0
    again = Project.open(tmp_path / "project.toml").run(stop="plate_solving")
    assert (again.units_done, again.exit_code) == (0, 0)
