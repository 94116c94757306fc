"""A converted configuration runs to its end, offline, on answers that were prefetched from a loopback service."""

from __future__ import annotations

import pytest
import tomli
import yaml
from archives import gaia_and_panstarrs
from astropy.table import Table


@pytest.mark.slow
def test_a_converted_configuration_runs_offline(fresh, tap_service, lcf):
    roi = tomli.loads(fresh.project.read_text())["roi"]["QUAD"]
    configuration = {
        "workdir": str(fresh.folder / "old"), "raw_dirs": [str(fresh.folder / "raw")],
        "files_match_pattern": "*.fits", "ROI": {"QUAD": {"coordinates": [roi["ra"], roi["dec"]]}}, "ROI_size": 3.5,
        "multiprocessing_cpu_count": 1, "already_plate_solved": 1, "plate_solving_strategy": "plate_solve",
        "plate_scale_interval": [0.19, 0.23], "star_selection_strategy": "ROI_disk",
        "ROI_disk_radius_arcseconds": 120, "star_min_gmag": 15.0, "star_max_gmag": 20.5, "min_number_stars": 3,
        "stars_to_use_psf": 6, "stars_to_use_norm": 6, "photometric_band": "r_panstarrs", "do_ROI_model": False,
        "constraints_on_frame_columns_for_roi": {"seeing_arcseconds": [0, 5]},
    }  # fmt: skip
    yml = fresh.folder / "config.yaml"
    yml.write_text(yaml.safe_dump(configuration))
    folder = fresh.folder / "converted"
    ended = lcf("init", folder, "--from-lightcurver", yml)
    assert ended.code == 0, ended.err
    project = folder / "project.toml"

    stars = Table.read(fresh.folder / "stars.ecsv")
    server = tap_service(gaia_and_panstarrs(stars, stars["r_mag"]))
    options = f'url = "{server.url}"\ntimeout = 5.0\nretries = 0\n'
    text = project.read_text().replace("[run]\n", '[run]\noffline = true\ndevice = "cpu"\n')
    project.write_text(f'{text}\n[stars.gaia]\nmirror = ""\n{options}[calibration.panstarrs]\n{options}')
    ended = lcf("prefetch", project)
    assert ended.code == 0, ended.out
    server.close()
    asked = len(server.log)
    ended = lcf("run", project)
    assert ended.code == 0, ended.out + ended.err
    assert len(server.log) == asked
    assert "calculate_absolute_zeropoints: 1 done" in ended.out
