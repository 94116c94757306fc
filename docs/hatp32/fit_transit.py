"""Fit a transit to the light curve of HAT-P-32: python fit_transit.py HAT-P-32_photometry_per_epoch.csv.

The model is that of batman (Kreidberg 2015) times a parabola in time. Only mid-time, radius ratio and the parabola are
free; period, a/R* and inclination are the published ones; limb darkening is that of a 6200 K star in a broad red band.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import batman
import numpy as np
from astropy.table import Table
from scipy.optimize import least_squares

PREDICTED = 2458107.71017  # BJD_TDB: T0 = 2454420.44645 and P = 2.1500080 d
PUBLISHED_RADIUS_RATIO = 0.1489
PERIOD, SEMI_MAJOR_AXIS, INCLINATION = 2.1500080, 6.05, 88.98  # d, stellar radii, degrees
LIMB_DARKENING = [0.35, 0.25]
EXPOSURE = 60.0 / 86400.0  # d
HALF_DURATION = 0.07  # d: beyond it from mid-transit is out of transit
CLIP = 4.0


class Transit(NamedTuple):
    """A fitted transit."""

    delay: float  # minutes after the prediction
    delay_error: float  # scaled to a reduced chi2 of 1
    radius_ratio: float
    radius_ratio_error: float
    scatter_out_of_transit: float  # parts per thousand
    stated_error: float  # root mean square out of transit, parts per thousand
    pull_out_of_transit: float  # standard deviation of residuals over their stated errors; 1 where errors are true
    reduced_chi2: float
    measured: int  # epochs
    clipped: int


def fit_transit(table: Table, source: str = "A") -> Transit:
    """Fit the transit in a light curve with columns ``bjd_tdb``, ``<source>_flux`` and ``<source>_d_flux``."""
    names = ("bjd_tdb", f"{source}_flux", f"{source}_d_flux")
    columns = np.array([getattr(table[name], "value", table[name]) for name in names], float)  # with or without units
    time, flux, error = columns[:, np.isfinite(columns[1])]
    level = np.median(flux)
    flux, error = flux / level, error / level
    model = _model(time)
    good = np.ones(len(time), bool)
    for _ in range(6):
        kept = good
        fit = least_squares(
            lambda q, kept=kept: ((flux - model(q)) / error)[kept],
            [0.0, 0.15, 1.0, 0.0, 0.0],
            x_scale=[1e-3, 1e-2, 1e-2, 1e-2, 1e-2],
        )
        residual = flux - model(fit.x)
        good = np.abs(residual) < CLIP * 1.4826 * np.median(np.abs(residual[good]))
        if (good == kept).all():
            break
    chi2 = float(2 * fit.cost / (kept.sum() - len(fit.x)))
    sigma = np.sqrt(np.diag(np.linalg.inv(fit.jac.T @ fit.jac)) * chi2)
    outside = kept & (np.abs(time - PREDICTED - fit.x[0]) > HALF_DURATION)
    ratio, relative = flux[outside] / model(fit.x)[outside], error[outside] / flux[outside]
    return Transit(
        delay=1440 * fit.x[0], delay_error=1440 * sigma[0], radius_ratio=fit.x[1], radius_ratio_error=sigma[1],
        scatter_out_of_transit=1000 * float(np.std(ratio, ddof=3)),
        stated_error=1000 * float(np.sqrt(np.mean(relative**2))),
        pull_out_of_transit=float(np.std((ratio - 1) / relative, ddof=3)), reduced_chi2=chi2,
        measured=len(time), clipped=int((~kept).sum()),
    )  # fmt: skip


def _model(time: np.ndarray) -> Any:
    parameters = batman.TransitParams()
    parameters.per, parameters.a, parameters.inc = PERIOD, SEMI_MAJOR_AXIS, INCLINATION
    parameters.ecc, parameters.w, parameters.t0, parameters.rp = 0.0, 90.0, PREDICTED, PUBLISHED_RADIUS_RATIO
    parameters.limb_dark, parameters.u = "quadratic", LIMB_DARKENING
    curve = batman.TransitModel(parameters, time, supersample_factor=5, exp_time=EXPOSURE)
    when = (time - time.mean()) / np.ptp(time) * 2

    def model(q: Any) -> np.ndarray:
        parameters.t0, parameters.rp = PREDICTED + q[0], q[1]
        return np.asarray(curve.light_curve(parameters) * (q[2] + q[3] * when + q[4] * when**2))

    return model


def main() -> None:
    """Print the fit of the file named on the command line."""
    transit = fit_transit(Table.read(Path(sys.argv[1])))
    print(f"epochs measured {transit.measured}, clipped {transit.clipped}")
    print(f"mid-transit     {transit.delay:+.2f} +- {transit.delay_error:.2f} min after the prediction")
    ratio = f"{transit.radius_ratio:.4f} +- {transit.radius_ratio_error:.4f}"
    print(f"Rp/R*           {ratio} (published {PUBLISHED_RADIUS_RATIO})")
    print(f"out of transit  {transit.scatter_out_of_transit:.2f} ppt scatter, {transit.stated_error:.2f} ppt stated")
    print(f"pull            {transit.pull_out_of_transit:.2f} out of transit")
    print(f"reduced chi2    {transit.reduced_chi2:.2f}")


if __name__ == "__main__":
    main()
