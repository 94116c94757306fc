"""A converted configuration runs to its end, offline, on answers that were prefetched from a loopback service."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tomli
import yaml
from astropy.table import Table

_PATH = Path(__file__).parents[1] / "plugins_builtin" / "tap_server.py"
_SPEC = importlib.util.spec_from_file_location("tap_server_of_end_to_end", _PATH)
tap_server = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tap_server)


def services(stars: Table) -> dict[str, Table]:
    """Return the simulated sky as Gaia and Pan-STARRS would serve it."""
    gaia = Table()
    gaia["source_id"] = np.arange(len(stars)) + 4_000_000_000_000_000_000
    for name in ("ra", "dec", "pmra", "pmdec", "ref_epoch", "phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag"):
        gaia[name] = np.asarray(stars[name], float)
    gaia["astrometric_excess_noise"], gaia["phot_g_mean_flux_over_error"] = 0.1, 2000.0
    gaia["phot_variable_flag"] = "NOT_AVAILABLE"
    ps1 = Table()
    ps1["RAJ2000"], ps1["DEJ2000"] = gaia["ra"], gaia["dec"]
    ps1["Epoch"], ps1["Nd"], ps1["Qual"] = 51544.5 + 16.0 * 365.25, 60, 52
    for band in "grizy":
        ps1[f"{band}mag"], ps1[f"e_{band}mag"] = np.asarray(stars["r_mag"], float), 0.01
    return {"gaiadr3.gaia_source": gaia, "II/349/ps1": ps1}


@pytest.mark.slow
def test_a_converted_configuration_runs_offline(fresh, monkeypatch, lcf):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
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

    server = tap_server.TapServer(services(Table.read(fresh.folder / "stars.ecsv")))
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
