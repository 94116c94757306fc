"""Run lightcurver on a campaign, offline, and write down how long each of its tasks took.

Started by versus_lightcurver.py in the interpreter of lightcurver's own environment, so it imports nothing of ours:

    python peer_driver.py settings.json

where the settings hold `config` (what differs from the configuration that lightcurver ships), `catalog` (the table
of stars, ECSV), `header_parser` (the text of its header parser) and `seconds` (the file to write). Its PSF fits are
written down beside, `psf_<number>.npz`: a few milliseconds each.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import resources
from pathlib import Path


def local_query(path: str):
    """Return a stand-in for lightcurver's query of Gaia, which selects from a table on disk as the query would."""
    from astropy import units
    from astropy.coordinates import SkyCoord
    from astropy.table import Table

    def find(
        region_type, region, astrometric_excess_noise_max, gmag_range, min_phot_g_mean_flux_over_error, **provider
    ):
        if region_type != "circle":
            raise ValueError(f"only circles can be looked up in {path}, not a {region_type}")
        stars = Table.read(path)
        there = SkyCoord(stars["ra"], stars["dec"])
        separation = there.separation(SkyCoord(*region["center"], unit="deg"))
        good = separation < region["radius"] * units.deg
        good &= stars["astrometric_excess_noise"] < astrometric_excess_noise_max
        magnitude = stars["phot_g_mean_mag"].value
        good &= (magnitude >= gmag_range[0]) & (magnitude <= gmag_range[1])
        good &= stars["phot_g_mean_flux_over_error"] > min_phot_g_mean_flux_over_error
        return stars[good]

    return find


def keep_psfs(folder: Path) -> None:
    """Have each of STARRED's PSF fits write down what it was given, the wavelet weights it drew, and its answer."""
    import numpy as np
    from lightcurver.processes import psf_modelling
    from starred.procedures import psf_routines

    drawn = []
    draw, build = psf_routines.propagate_noise, psf_modelling.build_psf

    def propagate_noise(*arguments, **options):
        drawn.append(draw(*arguments, **options))
        return drawn[-1]

    def build_psf(image, noisemap, masks=None, **options):
        given = {"image": image.copy(), "noisemap": noisemap.copy(), "masks": masks.copy()}  # it divides in place
        result = build(image=image, noisemap=noisemap, masks=masks, **options)
        fitted = {
            f"{group}/{name}": np.asarray(value)
            for group, values in result["kwargs_psf"].items()
            for name, value in values.items()
        }
        number = len(list(folder.glob("psf_*.npz")))
        np.savez(
            folder / f"psf_{number:04d}.npz",
            **given,
            **fitted,
            weights=np.asarray(drawn[-1][0]),
            subsampling=options["subsampling_factor"],
            seeing=options["guess_fwhm_pixels"],
        )
        return result

    psf_routines.propagate_noise = propagate_noise
    psf_modelling.build_psf = build_psf


def main() -> None:
    begun = time.perf_counter()
    settings = json.loads(Path(sys.argv[1]).read_text())
    import yaml

    shipped = resources.files("lightcurver.pipeline.example_config_file") / "config.yaml"
    config = yaml.safe_load(shipped.read_text()) | settings["config"]
    workdir = Path(config["workdir"])
    (workdir / "header_parser").mkdir(parents=True, exist_ok=True)
    (workdir / "logs").mkdir(exist_ok=True)
    (workdir / "header_parser" / "parse_header.py").write_text(settings["header_parser"])
    (workdir / "config.yaml").write_text(yaml.safe_dump(config))
    os.environ["LIGHTCURVER_CONFIG"] = str(workdir / "config.yaml")

    from lightcurver.pipeline.workflow_manager import WorkflowManager
    from lightcurver.processes import star_querying

    star_querying.find_gaia_stars = local_query(settings["catalog"])
    keep_psfs(workdir)
    seconds = {"imports": time.perf_counter() - begun}
    manager = WorkflowManager()
    for task in manager.topological_sort():
        started = time.perf_counter()
        manager.run(start_step=task, stop_step=task)
        seconds[task] = time.perf_counter() - started
        Path(settings["seconds"]).write_text(json.dumps(seconds))


if __name__ == "__main__":
    main()
