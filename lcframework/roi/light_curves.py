"""The light curve tables of a region: one row an epoch, all bands and instruments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import QTable, Table, vstack
from astropy.time import Time
from astropy.timeseries import TimeSeries

from lcframework.roi.cutout_files import WITHDRAWN, FitFile
from lcframework.storage.files import atomic
from lcframework.types import EpochFlag, FitState, Floats, LcfError

#: Above this the noise map does not describe an epoch.
HIGH_CHI2 = 1.5
#: A source below this many sigma has no symmetric magnitude worth the name.
LOW_SIGNAL = 3.0
_MAGNITUDES = 2.5 / np.log(10)


def table_name(roi: str, kind: str, row: str = "epoch") -> str:
    """Return the file name of a region's table: `kind` csv or ecsv, with a `row` an epoch or a night."""
    return f"{roi}_photometry_per_{row}.{kind}"


#: What follows a region's name in the names of the files of its light curve.
TABLE_ENDINGS = tuple(table_name("", kind, row) for kind in ("csv", "ecsv") for row in ("epoch", "night"))


def epochs_table(content: FitFile) -> Table:
    """Return the rows of one instrument and band."""
    fit, n = content.fit, len(content.mjd)
    table = Table()
    table["frame_id"] = np.asarray(content.frame_id, int)
    table["mjd"] = content.mjd
    table["bjd_tdb"] = content.bjd_tdb
    table["band"] = [content.band] * n
    table["instrument"] = [content.instrument] * n
    table["zeropoint"] = np.full(n, content.zeropoint)
    table["reduced_chi2"] = fit.reduced_chi2
    table["seeing"] = content.seeing
    table["flags"] = np.zeros(n, int)
    common = np.asarray(fit.common_covariance)
    low = np.zeros(n, bool)
    for k, name in enumerate(content.names):
        flux = fit.flux[:, k]
        fitted = np.sqrt(np.clip(fit.covariance[:, k, k], 0, None))
        error = np.hypot(fitted, flux * np.hypot(content.normalization_error, content.extra_scatter))
        table[f"{name}_flux"], table[f"{name}_d_flux"], table[f"{name}_d_flux_fit"] = flux, error, fitted
        table[f"{name}_d_flux_common"] = np.sqrt(np.clip(common[:, k, k], 0, None))
        for column, value in magnitudes(flux, error, content.zeropoint).items():
            table[f"{name}_{column}"] = value
        low |= ~(flux >= LOW_SIGNAL * error)
    table["relative_normalization_error"] = content.normalization_error
    table["relative_extra_scatter"] = content.extra_scatter
    table["zeropoint_error"] = np.full(n, content.zeropoint_uncertainty)
    flags = np.where(fit.status.state is FitState.CONVERGED, 0, EpochFlag.FIT_NOT_CONVERGED) + np.zeros(n, int)
    flags |= np.where(fit.reduced_chi2 > HIGH_CHI2, EpochFlag.HIGH_CHI2, 0)
    flags |= np.where(fit.outliers.any(axis=(1, 2)), EpochFlag.PIXELS_CLIPPED, 0)
    flags |= np.where(low, EpochFlag.LOW_SIGNAL, 0)
    table["flags"] = flags
    return table


def magnitudes(flux: Floats, error: Floats, zeropoint: float) -> dict[str, Floats]:
    """Return magnitudes and their asymmetric errors: `d_mag_up` towards brighter, `d_mag_down` towards fainter.

    nan where a flux, or a flux less its error, is not positive.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        mag = zeropoint - _MAGNITUDES * np.log(flux)
        fainter = -_MAGNITUDES * np.log((flux - error) / flux)
        brighter = _MAGNITUDES * np.log((flux + error) / flux)
    bad = ~(flux > 0)
    return {
        "mag": np.where(bad, np.nan, mag),
        "d_mag_down": np.where(bad | ~(flux > error), np.nan, fainter),
        "d_mag_up": np.where(bad, np.nan, brighter),
    }


def join(contents: Sequence[FitFile]) -> Table:
    """Return all epochs of a region, by time."""
    table = vstack([epochs_table(c) for c in contents], metadata_conflicts="silent")
    table.sort(["mjd", "frame_id"])
    return table


def per_night(table: Table, names: Sequence[str], longitude: float | Mapping[str, float]) -> Table:
    """Return weighted means of each night, instrument and band.

    Parameters
    ----------
    table : Table
        Of :func:`join`.
    names : sequence of str
        The sources.
    longitude : float or mapping
        Degrees east, or those of each instrument: nights are counted from local noon to noon.
    """
    # An MJD begins at midnight UTC; local noon is half a day and the longitude away.
    east = [longitude[i] if isinstance(longitude, Mapping) else longitude for i in table["instrument"]]
    night = np.floor(np.asarray(table["mjd"]) - 0.5 + np.array(east) / 360.0).astype(int)
    rows = []
    keys = sorted({*zip(night.tolist(), table["instrument"], table["band"], strict=True)})
    for when, instrument, band in keys:
        mine = table[(night == when) & (table["instrument"] == instrument) & (table["band"] == band)]
        row: dict[str, Any] = {
            "night": when, "mjd": float(np.mean(mine["mjd"])), "bjd_tdb": float(np.mean(mine["bjd_tdb"])),
            "band": band, "instrument": instrument, "epochs": len(mine), "zeropoint": float(mine["zeropoint"][0]),
        }  # fmt: skip
        for name in names:
            row.update({f"{name}_{k}": v for k, v in _mean(mine, name).items()})
        row["zeropoint_error"] = float(mine["zeropoint_error"][0])
        rows.append(row)
    return Table(rows=rows)


def _mean(table: Table, name: str) -> dict[str, float]:
    flux, error = np.asarray(table[f"{name}_flux"], float), np.asarray(table[f"{name}_d_flux"], float)
    good = np.isfinite(flux) & np.isfinite(error) & (error > 0)
    if not good.any():
        return dict.fromkeys(("flux", "d_flux", "scatter", "mag", "d_mag_down", "d_mag_up"), float("nan"))
    weight = 1 / error[good] ** 2
    mean, sigma = np.average(flux[good], weights=weight), 1 / np.sqrt(weight.sum())
    scatter = float(np.std(flux[good], ddof=1)) if good.sum() > 1 else float("nan")
    mags = magnitudes(np.array([mean]), np.array([sigma]), float(table["zeropoint"][0]))
    return {
        "flux": float(mean),
        "d_flux": float(sigma),
        "scatter": scatter,
        **{k: float(v[0]) for k, v in mags.items()},
    }


def write_light_curve(folder: Path, roi: str, table: Table, nightly: Table, systems: Sequence[str]) -> list[Path]:
    """Write the tables of epochs and nights as CSV, and as ECSV with units; that of epochs as CSV comes first."""
    paths = []
    for kind in ("csv", "ecsv"):
        for row, plain in (("epoch", table), ("night", nightly)):
            paths.append(folder / table_name(roi, kind, row))
            content = plain if kind == "csv" else with_units(plain, systems)
            with atomic(paths[-1]) as temporary:
                content.write(temporary, format=f"ascii.{kind}")
    return paths


def read_light_curve(folder: Path, roi: str) -> QTable:
    """Return a region's table of epochs with units.

    Parameters
    ----------
    folder : Path
        Where :func:`write_light_curve` wrote it.
    roi : str
        The region, which ``meta["roi"]`` names.

    Raises
    ------
    LcfError
        Where there is none yet.
    """
    path = folder / table_name(roi, "ecsv")
    if not path.exists():
        old = folder / WITHDRAWN / path.name
        if old.exists():
            raise LcfError(f"{roi} has no light curve any more, `lcf status` says why; what it had before is {old}")
        raise LcfError(f"{roi} has no light curve yet: run the project to its end")
    table = QTable.read(path, format="ascii.ecsv")
    table.meta["roi"] = roi
    return table


def time_series(table: QTable) -> TimeSeries:
    """Return a table of epochs as a time series, its times in UTC."""
    series = TimeSeries(time=Time(table["mjd"].value, format="mjd", scale="utc"))
    series.meta.update(table.meta)
    for column in table.colnames:
        series[column] = table[column]
    return series


def with_units(table: Table, systems: Sequence[str]) -> Table:
    """Return the table with units on its columns and the time scales and magnitude system in its metadata."""
    out = QTable(table, copy=True)
    for name in out.colnames:
        unit = _unit_of(name)
        if unit is not None:
            out[name].unit = unit
    out.meta["magnitude_system"] = "/".join(sorted({s for s in systems if s})) or "none"
    out.meta["times"] = {"mjd": "UTC, mid-exposure", "bjd_tdb": "BJD in TDB, mid-exposure"}
    return out


def _unit_of(name: str) -> u.Unit | None:
    if name in ("mjd", "bjd_tdb"):
        return u.day
    if name == "seeing":
        return u.arcsec
    if name.startswith("zeropoint") or "_mag" in name:
        return u.mag
    if "_flux" in name or name.endswith("_scatter"):
        return u.electron / u.s
    return None
