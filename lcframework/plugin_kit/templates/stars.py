"""A star catalogue for lcframework."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import CatalogLimits, Floats, Region, StarTable

if TYPE_CHECKING:
    from astropy.table import Table

#: CHECK: stands for the catalogue: source_id, ra and dec (degrees, ICRS), magnitude, pmra and pmdec (mas/yr).
_STARS = (
    ("1", 150.000, -28.000, 14.2, -3.1, 5.0),
    ("2", 150.020, -28.011, 15.9, 0.4, -8.2),
    ("3", 149.985, -27.992, 17.3, float("nan"), float("nan")),
)
#: CHECK: Julian year of the catalogue's positions.
_EPOCH = 2016.0


@attrs.frozen
class PluginClass:
    """A few stars that the module itself has."""

    results_version: ClassVar[int] = 1  # raise it when answers change

    def query(self, region: Region, limits: CatalogLimits) -> StarTable:
        """Return the stars within `region.radius` degrees of its centre and within the limits, in a fixed order."""
        from astropy.table import Table  # heavy libraries are imported where needed: most commands load this module

        # CHECK: ask your service here; it may answer with more than was asked for. Add the option
        # `offline: bool = False` if it is on the network, and `cache_dir: Path | None = None` to keep its answers.
        names = ("source_id", "ra", "dec", "magnitude", "pmra", "pmdec")
        table = Table(rows=_STARS, names=names, units=("", "deg", "deg", "mag", "mas / yr", "mas / yr"))
        table["ref_epoch"] = np.full(len(table), _EPOCH)
        table["ref_epoch"].unit = "yr"
        low, high = limits.magnitude
        bright = (table["magnitude"] >= low) & (table["magnitude"] <= high)
        return table[(_degrees_apart(table, region) <= region.radius) & bright]


def _degrees_apart(table: Table, region: Region) -> Floats:
    ra, dec = (np.radians(np.asarray(table[name], float)) for name in ("ra", "dec"))
    ra0, dec0 = np.radians(region.ra), np.radians(region.dec)
    half = np.sin((dec - dec0) / 2) ** 2 + np.cos(dec) * np.cos(dec0) * np.sin((ra - ra0) / 2) ** 2
    return np.asarray(np.degrees(2 * np.arcsin(np.sqrt(np.clip(half, 0, 1)))))


@hookimpl
def lcf_star_catalogs() -> dict[str, type]:
    """Offer it as ``[stars] plugin = "plugin_name"``."""
    return {"plugin_name": PluginClass}
