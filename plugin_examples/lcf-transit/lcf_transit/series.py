"""The part of a light curve that shows one transit, with all that a flux may depend on beside the planet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from lcframework.types import Floats, LcfError, source_names

if TYPE_CHECKING:
    from astropy.table import Table

#: More epochs are averaged in bins, because the covariance of all pairs is worked with.
MOST_EPOCHS = 400
#: Fewer tell nothing of a transit and its baseline.
LEAST_EPOCHS = 15


@attrs.frozen(eq=False)
class Series:
    """Fluxes around one transit.

    Attributes
    ----------
    time : (n,) array
        BJD_TDB, middle of the exposure, d.
    flux, error : (n,) arrays
        Relative to the median flux.
    exposure : float
        Length of an exposure, or of a bin, d.
    regressors : dict of (n,) arrays
        Airmass, position on the detector and so on, each of mean 0 and standard deviation 1.
    binned : int
        How many epochs are averaged in a point.
    """

    time: Floats
    flux: Floats
    error: Floats
    exposure: float
    regressors: Mapping[str, Floats]
    binned: int = 1

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.time)

    def without(self, bad: Any) -> Series:
        """Return the series without some points."""
        kept = ~np.asarray(bad)
        regressors = {name: standardized(values[kept]) for name, values in self.regressors.items()}
        return attrs.evolve(self, time=self.time[kept], flux=self.flux[kept], error=self.error[kept],
                            regressors=regressors)  # fmt: skip


def standardized(values: Floats) -> Floats:
    """Return values of mean 0 and standard deviation 1; zeros where all are equal."""
    spread = np.std(values)
    return np.asarray((values - np.mean(values)) / spread if spread > 0 else np.zeros_like(values))


def series_of(
    curve: Table, source: str, centre: float, window: float, exposure: float, positions: Mapping[str, Any]
) -> Series:
    """Return the epochs around the middle of a transit.

    Parameters
    ----------
    curve : Table
        As ``Project.light_curve_table`` returns it, of one instrument and band.
    source : str
        The host star's name in it.
    centre : float
        The transit's predicted middle, BJD_TDB.
    window : float
        Epochs so far from it are taken, d.
    exposure : float
        Exposure time, d.
    positions : mapping
        By name, further values of each epoch, such as ``x`` and ``y`` on the detector.

    Raises
    ------
    LcfError
        Where there is no such source, epochs have no barycentric time, or too few are left.
    """
    names = source_names(curve.colnames)
    if source not in names:
        raise LcfError(f'the light curve has no source "{source}"; it has {", ".join(names)}')
    time, flux, error = (_plain(curve[name]) for name in ("bjd_tdb", f"{source}_flux", f"{source}_d_flux"))
    if not np.isfinite(time).any():
        raise LcfError("the epochs have no barycentric time (bjd_tdb), which the time of a transit is given in")
    with np.errstate(invalid="ignore"):
        near = (np.abs(time - centre) <= window) & np.isfinite(flux) & (error > 0)
    if near.sum() < LEAST_EPOCHS:
        raise LcfError(
            f"{near.sum()} epochs lie within {24 * window:.1f} h of the predicted middle at BJD_TDB {centre:.5f}; "
            f"{LEAST_EPOCHS} are needed. The light curve lasts from {np.nanmin(time):.5f} to {np.nanmax(time):.5f}"
        )
    order = np.flatnonzero(near)[np.argsort(time[near])]
    level = float(np.median(flux[order]))
    if not level > 0:
        raise LcfError(f"the median flux of {source} is {level:.3g} e-/s: there is no star to be crossed")
    columns = {"airmass": "airmass", "fwhm": "seeing_pixels", "sky": "sky_level"}
    found = {name: _plain(curve[column]) for name, column in columns.items() if column in curve.colnames}
    found |= {name: _plain(values) for name, values in positions.items()}
    regressors = {n: standardized(v[order]) for n, v in found.items() if np.isfinite(v[order]).all()}
    regressors = {name: values for name, values in regressors.items() if values.any()}
    series = Series(time[order], flux[order] / level, error[order] / level, exposure, regressors)
    return _binned(series)


def _binned(series: Series) -> Series:
    """Return means of successive points, where there are too many."""
    size = -(-len(series) // MOST_EPOCHS)
    if size == 1:
        return series
    bins = np.arange(len(series)) // size
    weight = series.error**-2.0
    total = np.bincount(bins, weight)

    def mean(values: Floats) -> Floats:
        return np.asarray(np.bincount(bins, weight * values) / total)

    start = np.bincount(bins, series.time - series.time[0]) / np.bincount(bins)
    length = series.exposure + float(np.median(np.diff(series.time))) * (size - 1)
    regressors = {name: standardized(mean(values)) for name, values in series.regressors.items()}
    return Series(start + series.time[0], mean(series.flux), total**-0.5, length, regressors, size)


def _plain(column: Any) -> Floats:
    """Return a column's numbers without unit; nan where it has none."""
    values = getattr(column, "value", column)
    return np.asarray(np.ma.filled(np.ma.asarray(values, float), np.nan), float)
