"""A light curve for exporters: two nights of a star with a faint companion, as a run of this version publishes it."""

from __future__ import annotations

import numpy as np

from lcframework.roi.derived_columns import derived, reference
from lcframework.roi.light_curves import magnitudes, with_units

ZEROPOINT = 24.5
EXPTIME = 120.0


def curve_of(band="r", system="AB", sources=("A", "B"), zeropoint=ZEROPOINT):
    from astropy.table import Table

    n = 8
    table = Table()
    table["frame_id"], table["frame"] = np.arange(1, n + 1), [f"night_{i}" for i in range(n)]
    table["mjd"] = 60360.2 + np.array([0.0, 0.01, 0.02, 0.03, 1.0, 1.01, 1.02, 1.03])
    table["bjd_tdb"] = table["mjd"] + 2400000.5 + 0.003
    table["band"], table["instrument"] = [band] * n, ["Cam 1"] * n
    table["zeropoint"], table["zeropoint_error"], table["reduced_chi2"] = zeropoint, 0.01, 1.02
    table["seeing"], table["seeing_pixels"], table["airmass"] = 0.9, 3.6, 1.1 + 0.01 * np.arange(n)
    table["sky_level"], table["flags"], table["exptime"] = 4.0, [0, 2, 0, 0, 0, 0, 0, 0], EXPTIME
    fluxes = {
        "A": [200.0, 210.0, 190.0, 205.0, 201.0, 199.0, 200.0, 202.0],
        "B": [40.0, -3.0, 10.0, 42.0, 41.0, 39.0, 38.0, 40.0],
    }
    for k, name in enumerate(sources):
        flux, error, fitted = np.array(fluxes[name]), np.full(n, 5.0), np.full(n, 4.0)
        values = {"flux": flux, "d_flux": error, "d_flux_fit": fitted, "d_flux_common": np.full(n, 2.0)}
        values |= magnitudes(flux, error, zeropoint)
        values |= derived(flux, error, fitted, zeropoint, reference(flux, error, fitted))
        values |= {"x": 511.25 + k + np.zeros(n), "y": 300.5 + np.arange(n) / 10}
        for column, array in values.items():
            table[f"{name}_{column}"] = array
    out = with_units(table, [system])
    positions = {"A": [42.2031, 19.22528], "B": [42.2034, 19.22528]}
    out.meta.update(roi="J0248", ra=42.2031, dec=19.22528, positions={s: positions[s] for s in sources})
    return out
