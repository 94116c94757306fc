"""The light curve tables of a region: one row for each epoch, with all bands and instruments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lcframework.roi.cutout_files import WITHDRAWN, FitFile
from lcframework.roi.derived_columns import POGSON, Reference, derived, reference
from lcframework.roi.epochs import EpochColumns
from lcframework.roi.visits import stands_out, visit_numbers
from lcframework.storage.files import atomic
from lcframework.types import (
    EPOCH_COLUMNS,
    NIGHT_COLUMNS,
    SOURCE_COLUMNS,
    SOURCE_NIGHT_COLUMNS,
    VISIT_COLUMNS,
    Bools,
    CurveColumn,
    EpochFlag,
    FitState,
    Floats,
    FrameFlag,
    Ints,
    LcfError,
    RoiFit,
    column_of,
    source_names,
)
from lcframework.types.arrays import plain_floats

if TYPE_CHECKING:
    from astropy.table import QTable, Table

#: An epoch with a larger reduced chi2 is flagged: its noise map does not describe the residuals.
HIGH_CHI2 = 1.5
#: An epoch is flagged where a source has fewer sigma: magnitude errors are then strongly asymmetric.
LOW_SIGNAL = 3.0
#: What speaks against a frame; the other bits of its flags do not.
_DOUBTED = FrameFlag.DOUBTED | FrameFlag.SUN_UP | FrameFlag.ODD_TIME | FrameFlag.TARGET_DOWN


def table_name(roi: str, kind: str, row: str = "epoch") -> str:
    """Return the file name of a region's table; `kind` is csv or ecsv, `row` is epoch, night or visit."""
    return f"{roi}_photometry_per_{row}.{kind}"


#: Endings of the file names of a light curve, after the name of the region.
TABLE_ENDINGS = tuple(table_name("", kind, row) for kind in ("csv", "ecsv") for row in ("epoch", "night", "visit"))


def epochs_table(content: FitFile, positions: Floats | None = None) -> Table:
    """Return the rows of one instrument and band, with the columns of `EPOCH_COLUMNS` and `SOURCE_COLUMNS`.

    Parameters
    ----------
    content : FitFile
        The fit.
    positions : (e, k, 2) array, optional
        The sources' places in the frames, pixels, nan where unknown; without it all are.
    """
    from astropy.table import Table

    n = len(content.fit.flux)
    sources = {name: _of_source(content, k) for k, name in enumerate(content.names)}
    for k, values in enumerate(sources.values()):
        values["x"], values["y"] = np.full((2, n), np.nan) if positions is None else positions[:, k].T
    weak = np.zeros(n, bool)
    for values in sources.values():
        weak |= ~(values["flux"] >= LOW_SIGNAL * values["d_flux"])
    epoch: dict[str, Any] = {
        **content.columns,
        "zeropoint": np.full(n, content.zeropoint),
        "zeropoint_error": np.full(n, content.zeropoint_uncertainty),
        "reduced_chi2": content.fit.reduced_chi2,
        "flags": _flags(content, weak),
    }
    table = Table()
    for column in EPOCH_COLUMNS:
        table[column.name] = np.asarray(epoch[column.name], str if column.text else None)
    for name, values in sources.items():
        for column in SOURCE_COLUMNS:
            table[f"{name}_{column.name}"] = values[column.name]
    return table


def _of_source(content: FitFile, k: int) -> dict[str, Floats]:
    """Return the columns of the source with index `k`."""
    fit = content.fit
    fitted, whole = random_errors(fit, content.columns)
    common = np.sqrt(np.clip(np.asarray(fit.common_covariance)[:, k, k], 0, None))
    return flux_columns(fit.flux[:, k], whole[:, k], fitted[:, k], common, content.zeropoint)


def random_errors(fit: RoiFit, columns: EpochColumns) -> tuple[Floats, Floats]:
    """Return the fit's part of the random errors of epochs and sources, and the whole errors: (e, k) each, e-/s."""
    fitted = np.sqrt(np.clip(np.diagonal(fit.covariance, axis1=1, axis2=2), 0, None))
    relative = np.hypot(columns["relative_normalization_error"], columns["relative_extra_scatter"])
    return fitted, np.hypot(fitted, fit.flux * relative[:, None])


def flux_columns(flux: Floats, error: Floats, fitted: Floats, common: Floats, zeropoint: float) -> dict[str, Floats]:
    """Return all `SOURCE_COLUMNS` of a source in one instrument and band, but its places.

    Parameters
    ----------
    flux, error, fitted, common : (e,) arrays
        Normalised fluxes, their random errors, the fit's part of these, and the error of the whole curve, e-/s.
    zeropoint : float
        The magnitude of 1 e-/s; nan where there is none.
    """
    return {
        "flux": flux,
        "d_flux": error,
        "d_flux_fit": fitted,
        "d_flux_common": common,
        **magnitudes(flux, error, zeropoint),
        **derived(flux, error, fitted, zeropoint, reference(flux, error, fitted)),
    }


def _flags(content: FitFile, weak: Bools) -> Ints:
    """Return the epochs' `EpochFlag` bits; `weak` is True where a source is too faint for a symmetric magnitude."""
    fit = content.fit
    converged = fit.status.state is FitState.CONVERGED
    flags = np.full(len(weak), 0 if converged else EpochFlag.FIT_NOT_CONVERGED.value)
    flags |= np.where(fit.reduced_chi2 > HIGH_CHI2, EpochFlag.HIGH_CHI2.value, 0)
    doubted = np.nan_to_num(np.asarray(content.columns["frame_flags"], float)).astype(int) & _DOUBTED
    flags |= np.where(doubted > 0, EpochFlag.FRAME_DOUBTED.value, 0)
    flags |= np.where(fit.outliers.any(axis=(1, 2)), EpochFlag.PIXELS_CLIPPED.value, 0)
    return np.asarray(flags | np.where(weak, EpochFlag.LOW_SIGNAL.value, 0))


def magnitudes(flux: Floats, error: Floats, zeropoint: float) -> dict[str, Floats]:
    """Return magnitudes and their asymmetric errors: `d_mag_up` towards brighter, `d_mag_down` towards fainter.

    nan where a flux, or a flux less its error, is not positive.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        mag = zeropoint - POGSON * np.log(flux)
        fainter = -POGSON * np.log((flux - error) / flux)
        brighter = POGSON * np.log((flux + error) / flux)
    bad = ~(flux > 0)
    return {
        "mag": np.where(bad, np.nan, mag),
        "d_mag_down": np.where(bad | ~(flux > error), np.nan, fainter),
        "d_mag_up": np.where(bad, np.nan, brighter),
    }


def join(contents: Sequence[FitFile], positions: Sequence[Floats | None] = ()) -> Table:
    """Return all epochs of a region in the order of time; `positions` are those of each fit's sources, if any."""
    from astropy.table import vstack

    places = positions or [None] * len(contents)
    groups = [epochs_table(c, p) for c, p in zip(contents, places, strict=True)]
    table = vstack(groups, metadata_conflicts="silent")
    table.sort(["mjd", "frame_id"])
    return table


def per_night(table: Table, names: Sequence[str], longitude: float | Mapping[str, float]) -> Table:
    """Return weighted means of each night, instrument and band.

    Parameters
    ----------
    table : Table
        The answer of :func:`join`.
    names : sequence of str
        The sources.
    longitude : float or mapping
        Degrees east of the telescope, or of each instrument's: a night lasts from local noon to local noon.
    """
    # An MJD begins at midnight UTC; local noon is half a day later, less the longitude in turns.
    east = [longitude[i] if isinstance(longitude, Mapping) else longitude for i in table["instrument"]]
    night = np.floor(np.asarray(table["mjd"]) - 0.5 + np.array(east) / 360.0).astype(int)
    return _means(table, names, night, NIGHT_COLUMNS, clip=False)


def per_visit(table: Table, names: Sequence[str]) -> Table:
    """Return weighted means of each visit, instrument and band, without epochs beyond two sigma.

    A visit ends where its instrument has no epoch in any band for :data:`~lcframework.roi.visits.GAP` days.

    Parameters
    ----------
    table : Table
        The answer of :func:`join`.
    names : sequence of str
        The sources.
    """
    visit = np.zeros(len(table), int)
    for instrument in np.unique(np.asarray(table["instrument"], str)):
        mine = np.asarray(table["instrument"] == instrument)
        visit[mine] = visit_numbers(np.asarray(table["mjd"], float)[mine])
    return _means(table, names, visit, VISIT_COLUMNS, clip=True)


def _means(table: Table, names: Sequence[str], when: Ints, columns: Sequence[CurveColumn], clip: bool) -> Table:
    """Return the means of epochs of one night or visit (`when`), instrument and band."""
    from astropy.table import Table

    rows = []
    for number, instrument, band in sorted({*zip(when.tolist(), table["instrument"], table["band"], strict=True)}):
        same = table[(when == number) & (table["instrument"] == instrument) & (table["band"] == band)]
        values: dict[str, Any] = {
            "night": number, "visit": number, "mjd": float(np.mean(same["mjd"])),
            "bjd_tdb": float(np.mean(same["bjd_tdb"])), "hours": 24.0 * float(np.ptp(np.asarray(same["mjd"], float))),
            "band": band, "instrument": instrument, "epochs": len(same), "zeropoint": float(same["zeropoint"][0]),
            "zeropoint_error": float(same["zeropoint_error"][0]), "exptime": float(np.sum(same["exptime"])),
            **{column: float(np.mean(same[column])) for column in ("seeing", "seeing_pixels", "airmass")},
        }  # fmt: skip
        row = {column.name: values[column.name] for column in columns}
        for name in names:
            means = _mean(same, name, clip)
            row.update({f"{name}_{column.name}": means[column.name] for column in SOURCE_NIGHT_COLUMNS})
        rows.append(row)
    return Table(rows=rows)


def _mean(table: Table, name: str, clip: bool) -> dict[str, float]:
    """Return the columns of a source in one night or visit, instrument and band."""
    given = {c: plain_floats(table[f"{name}_{c}"]) for c in ("flux", "d_flux", "d_flux_fit", "x", "y")}
    flux, error = given["flux"], given["d_flux"]
    good = np.isfinite(flux) & np.isfinite(error) & (error > 0)
    out = stands_out(flux[good], error[good])
    if clip:
        good[np.flatnonzero(good)[out]] = False
    counts = {"count": int(good.sum()), "clipped": int(out.sum())}
    if not good.any():
        return {**dict.fromkeys((column.name for column in SOURCE_NIGHT_COLUMNS), float("nan")), **counts}
    weight = 1 / error[good] ** 2
    mean = np.average(flux[good], weights=weight)
    # Slow changes are those of all its epochs together: they do not become less by their number.
    sigma = np.hypot(1 / np.sqrt(weight.sum()), mean * _slow(table))
    with np.errstate(divide="ignore"):
        fitted = 1 / np.sqrt(np.sum(1 / given["d_flux_fit"][good] ** 2))
    zeropoint = float(table["zeropoint"][0])
    means, sigmas, of_fit = (np.array([value]) for value in (mean, sigma, fitted))
    shared = _shared(table, name, good)
    columns = magnitudes(means, sigmas, zeropoint) | derived(means, sigmas, of_fit, zeropoint, shared)
    return {
        "flux": float(mean),
        "d_flux": float(sigma),
        "scatter": float(np.std(flux[good], ddof=1)) if good.sum() > 1 else float("nan"),
        **counts,
        "x": float(np.mean(given["x"][good])),
        "y": float(np.mean(given["y"][good])),
        **{k: float(v[0]) for k, v in columns.items()},
    }


def _slow(table: Table) -> float:
    """Return the relative scatter of slow changes in the epochs' instrument and band; 0 where nothing tells it."""
    return float(np.nan_to_num(plain_floats(table["relative_slow_scatter"])[0]))


def _shared(table: Table, name: str, good: Bools) -> Reference:
    """Return what all epochs of a source share in the epochs' instrument and band, as their derived columns have it."""
    i = int(np.flatnonzero(good)[0])
    flux, error, difference, its_error, soft = (
        plain_floats(table[f"{name}_{c}"])[i] for c in ("flux", "d_flux", "diff_flux", "d_diff_flux", "asinh_softening")
    )
    return Reference(float(flux - difference), float(error**2 - its_error**2), float(soft))


def write_light_curve(folder: Path, roi: str, table: Table, nightly: Table, systems: Sequence[str]) -> list[Path]:
    """Write epochs, nights and visits as CSV, and as ECSV with units; return the paths, epochs as CSV first."""
    paths = []
    visits = per_visit(table, source_names(table.colnames))
    for kind in ("csv", "ecsv"):
        for row, plain in (("epoch", table), ("night", nightly), ("visit", visits)):
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
        The folder in which :func:`write_light_curve` wrote it.
    roi : str
        The region; the answer has its name in ``meta["roi"]``.

    Raises
    ------
    LcfError
        Where there is no light curve yet, or not any more.
    """
    from astropy.table import QTable

    path = folder / table_name(roi, "ecsv")
    if not path.exists():
        old = folder / WITHDRAWN / path.name
        if old.exists():
            raise LcfError(f"{roi} has no light curve any more, `lcf status` shows why; the earlier one is {old}")
        raise LcfError(f"{roi} has no light curve yet: run the project to its end")
    table = QTable.read(path, format="ascii.ecsv")
    fill_texts(table)
    table.meta["roi"] = roi
    return table


def fill_texts(table: Table) -> None:
    """Turn masked texts of a table that was read from a file into empty ones, in place.

    A text file has no other sign for an empty text, so the band of frames without a filter comes back masked, and a
    masked value equals nothing.
    """
    for name in table.colnames:
        column = table[name]
        if hasattr(column, "filled") and column.dtype.kind == "U":
            table[name] = column.filled("")


def with_units(table: Table, systems: Sequence[str]) -> Table:
    """Return the table with units on its columns and the time scales and magnitude system in its metadata."""
    import astropy.units as u
    from astropy.table import QTable

    out = QTable(table, copy=True)
    for name in out.colnames:
        column = column_of(name)
        if column is not None and column.unit:
            out[name].unit = u.Unit(column.unit)
    out.meta["magnitude_system"] = "/".join(sorted({s for s in systems if s})) or "none"
    out.meta["times"] = {"mjd": "UTC, mid-exposure", "bjd_tdb": "BJD in TDB, mid-exposure"}
    return out
