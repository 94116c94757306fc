"""Comparison of light curves with the truth of a simulated campaign."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from lcframework.testing.campaign.files import MMAG, CampaignTruth, bound_of, read_truth
from lcframework.types import LcfError

Array = NDArray[np.floating[Any]]


def evaluate_light_curves(campaign: CampaignTruth | Path | str, light_curve: Table) -> Table:
    """Compare the light curves of a region's point sources with the truth.

    Parameters
    ----------
    campaign : CampaignTruth or path
        The truth, or the folder that contains it.
    light_curve : astropy.table.Table
        One row for each epoch: ``mjd``, ``zeropoint``, and for each source S ``<S>_flux`` and ``<S>_d_flux``, in any
        one unit of flux; the columns of ``<roi>_photometry_per_epoch.csv``. Epochs are matched by their time.

    Returns
    -------
    astropy.table.Table
        One row for each source, ``name`` as in the truth:

        - ``epochs``: how many were compared;
        - ``scatter`` (mmag): rms about the truth, after the median ratio to it is divided out;
        - ``offset`` (mag): median of measured minus true AB magnitude; nan without a ``zeropoint`` column;
        - ``stated`` (mmag): rms of the stated random errors;
        - ``pull``: standard deviation of (measured - true) / stated error, the scale divided out;
        - ``bound`` (mmag): the answer of :func:`cramer_rao_scatter` for the same epochs;
        - ``ratio``: scatter / bound.

    Raises
    ------
    LcfError
        Where no epoch or no source is in common.
    """
    truth = campaign if isinstance(campaign, CampaignTruth) else read_truth(campaign)
    names = [n for n in truth.targets if f"{n}_flux" in light_curve.colnames]
    if not names:
        raise LcfError(f"the light curve has no column <S>_flux for any of {', '.join(truth.targets)}")
    rows = [_compare(truth, light_curve, name) for name in names]
    table = Table(rows=rows)
    for name in ("scatter", "stated", "bound"):
        table[name].unit = "mmag"
    table["offset"].unit = "mag"
    for name in ("scatter", "stated", "bound", "ratio", "pull"):
        table[name].format = ".2f"
    table["offset"].format = "+.4f"
    return table


def cramer_rao_scatter(campaign: CampaignTruth | Path | str) -> Table:
    """Return the least scatter that photon statistics allow: one row a source, ``bound`` in mmag, rms over the epochs.

    Each epoch's bound, in the truth's ``mag_bound``, is that of a measurement that knows the PSF, the positions, the
    galaxies and the sky, and fits the fluxes of all sources at once.
    """
    truth = campaign if isinstance(campaign, CampaignTruth) else read_truth(campaign)
    names = sorted(set(map(str, truth.fluxes["name"])), key=lambda n: (n not in truth.targets, n))
    table = Table(rows=[dict(name=n, bound=bound_of(truth.fluxes, n)) for n in names])
    table["bound"].unit = "mmag"
    table["bound"].format = ".2f"
    return table


def _compare(truth: CampaignTruth, light_curve: Table, name: str) -> dict[str, Any]:
    true = truth.fluxes[truth.fluxes["name"] == name]
    measured, expected = _match(light_curve, true, truth.settings.exptime)
    flux = np.asarray(light_curve[f"{name}_flux"], float)[measured]
    error = np.asarray(light_curve[f"{name}_d_flux"], float)[measured]
    true = true[expected]
    good = np.isfinite(flux) & np.isfinite(error)
    flux, error, true = flux[good], error[good], true[good]
    if not len(flux):
        raise LcfError(f"no epoch of the light curve of {name} is one of the campaign's: are its mjd mid-exposure UTC?")
    scale = float(np.median(flux / np.asarray(true["flux"])))
    expectation = scale * np.asarray(true["flux"], float)
    residual = flux - expectation
    # The median took one degree of freedom.
    freedom = np.sqrt(len(flux) / max(len(flux) - 1, 1))
    scatter = float(MMAG * np.sqrt(np.mean((residual / expectation) ** 2)) * freedom)
    bound = float(np.sqrt(np.nanmean(np.asarray(true["mag_bound"], float) ** 2)))
    return dict(
        name=name,
        epochs=len(flux),
        scatter=scatter,
        offset=_offset(light_curve, measured[good], flux, true),
        stated=float(MMAG * np.sqrt(np.mean((error / expectation) ** 2))),
        pull=float(np.std(residual / error) * freedom),
        bound=bound,
        ratio=scatter / bound,
    )


def _offset(light_curve: Table, rows: Array, flux: Array, true: Table) -> float:
    if "zeropoint" not in light_curve.colnames:
        return float("nan")
    zeropoint = np.asarray(light_curve["zeropoint"], float)[rows]
    bright = flux > 0
    magnitude = zeropoint[bright] - 2.5 * np.log10(flux[bright])
    return float(np.nanmedian(magnitude - np.asarray(true["mag"], float)[bright])) if bright.any() else float("nan")


def _match(light_curve: Table, true: Table, exptime: float) -> tuple[Any, Any]:
    """Return the rows of both tables that are one epoch, within a quarter of an exposure."""
    times, truths = np.asarray(light_curve["mjd"], float), np.asarray(true["mjd"], float)
    nearest = np.abs(times[:, None] - truths[None, :]).argmin(axis=1)
    close = np.abs(times - truths[nearest]) * 86400.0 < 0.25 * exptime
    return np.flatnonzero(close), nearest[close]
