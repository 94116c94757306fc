"""Stars as the services of Gaia and Pan-STARRS have them."""

from __future__ import annotations

import numpy as np
from astropy.table import Table


def gaia_and_panstarrs(stars: Table, magnitude) -> dict[str, Table]:
    """Return the tables of both, by their names; `magnitude` is that in each of Pan-STARRS's bands."""
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
        ps1[f"{band}mag"], ps1[f"e_{band}mag"] = np.asarray(magnitude, float), 0.01
    return {"gaiadr3.gaia_source": gaia, "II/349/ps1": ps1}
