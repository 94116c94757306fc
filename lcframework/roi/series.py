"""A region's light curve as the objects of other packages: time series of astropy and of lightkurve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lcframework.options import nearest
from lcframework.types import LcfError, NeedMissing, source_names
from lcframework.types.arrays import plain_floats

if TYPE_CHECKING:
    from astropy.table import QTable
    from astropy.timeseries import TimeSeries


def time_series(table: QTable) -> TimeSeries:
    """Return a table of epochs as a time series, its times in UTC."""
    from astropy.time import Time
    from astropy.timeseries import TimeSeries

    series = TimeSeries(time=Time(table["mjd"].value, format="mjd", scale="utc"))
    series.meta.update(table.meta)
    for column in table.colnames:
        series[column] = table[column]
    return series


def lightkurve_of(table: QTable, source: str | None = None) -> Any:
    """Return the epochs of a source as a ``lightkurve.LightCurve``, its times barycentric (TDB), its fluxes in e-/s.

    Parameters
    ----------
    table : QTable
        A region's table of epochs.
    source : str, optional
        The source; the first where it is left out.

    Raises
    ------
    NeedMissing
        Where lightkurve is not installed.
    LcfError
        Where the region has no such source, or no epoch of it a barycentric time.
    """
    from astropy.time import Time

    try:
        from lightkurve import LightCurve
    except ImportError:
        raise NeedMissing('this needs lightkurve: pip install "lcframework[lightkurve]"') from None
    names = source_names(table.colnames)
    name = names[0] if source is None and names else source
    if name not in names:
        raise LcfError(f'the light curve has no source "{name}"{nearest(str(name), names)}; it has {", ".join(names)}')
    bjd, flux = plain_floats(table["bjd_tdb"]), plain_floats(table[f"{name}_flux"])
    good = np.isfinite(bjd) & np.isfinite(flux)
    if not good.any():
        raise LcfError(f"{name} has no epoch with a flux and a barycentric time: see [telescope]")
    kept = table[good]
    time = Time(bjd[good], format="jd", scale="tdb")
    curve = LightCurve(time=time, flux=kept[f"{name}_flux"], flux_err=kept[f"{name}_d_flux"])
    others = {f"{other}_" for other in names if other != name}
    for column in table.colnames:
        own = column.removeprefix(f"{name}_")
        known = own in ("flux", "d_flux") or any(column.startswith(o) for o in others)
        if not known and table[column].dtype.kind not in "OU":  # lightkurve can't bin texts
            curve[own] = kept[column]
    curve.meta.update({k: v for k, v in table.meta.items() if k in ("roi", "ra", "dec", "magnitude_system")})
    for column in ("band", "instrument"):
        curve.meta[column] = "/".join(sorted({str(v) for v in kept[column]}))
    curve.meta["LABEL"] = f"{table.meta.get('roi', '')} {name}".strip()
    return curve
