"""Stars from the index files of Astrometry.net, which hold positions and, in some series, magnitudes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lcframework.types import Floats

if TYPE_CHECKING:
    from astropy.table import Table

CONFIGURATIONS = ("/etc/astrometry.cfg", "/usr/local/astrometry/etc/astrometry.cfg", "/usr/local/etc/astrometry.cfg")
#: Tycho-2's, of which they are made: proper motions are not in them.
_EPOCH = 2000.0


def index_folders() -> list[Path]:
    """Return the folders of index files that the solver's configuration names."""
    return [
        Path(line.split(None, 1)[1].strip())
        for name in CONFIGURATIONS if Path(name).is_file()
        for line in Path(name).read_text(encoding="utf-8", errors="replace").splitlines()
        if line.startswith("add_path") and len(line.split()) > 1
    ]  # fmt: skip


def index_stars(ra: float, dec: float, radius: float, folders: list[Path] | None = None) -> tuple[Table, str] | None:
    """Return the stars around a place that index files of the whole sky hold with magnitudes, and their column.

    An index file holds its stars as unit vectors, each coordinate a whole number of `KDT` steps from the least (Lang et
    al. 2010, AJ 139, 1782), and in further tables, called TAGALONG, what else is known of them. The file with the most
    stars is used.

    Parameters
    ----------
    ra, dec : float
        Degrees.
    radius : float
        Degrees.
    folders : list of Path, optional
        Where to look; those of the solver's configuration.

    Returns
    -------
    table, magnitude
        The columns ``source_id``, ``ra``, ``dec`` (degrees), ``ref_epoch`` (yr) and the one that `magnitude` names; or
        None where no index file has magnitudes.
    """
    from astropy.io import fits
    from astropy.table import Table

    found = [(n, p) for folder in (index_folders() if folders is None else folders)
             for p in sorted(folder.glob("index-*.fits")) if (n := _stars_with_magnitudes(p))]  # fmt: skip
    if not found:
        return None
    path = max(found)[1]
    with fits.open(path, memmap=True) as hdus:
        tables = {h.columns.names[0]: h for h in hdus[1:] if h.columns.names}
        magnitude = next(name for name in tables if name.startswith("MAG"))
        order = "<" if tables["kdtree_header_stars"].header["ENDIAN"].startswith("04") else ">"
        # Least x, y, z, greatest x, y, z, and steps a unit.
        extent = np.frombuffer(tables["kdtree_range_stars"].data.tobytes(), f"{order}f8")
        raw = np.frombuffer(tables["kdtree_data_stars"].data.tobytes(), f"{order}u4").reshape(-1, 3)
        xyz = extent[:3] + raw / extent[6]
        a, d = np.radians(ra), np.radians(dec)
        centre = np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
        near = np.flatnonzero(
            np.sum((xyz - centre) ** 2, axis=1) <= (2 * np.sin(np.radians(min(radius, 180.0)) / 2)) ** 2
        )
        values = np.asarray(tables[magnitude].data[magnitude], float)[near]
    return _table(Table, xyz[near], values, near, magnitude), magnitude


def _table(make: Any, xyz: Floats, magnitudes: Floats, rows: Any, name: str) -> Table:
    usable = np.isfinite(magnitudes)
    xyz, magnitudes, rows = xyz[usable], magnitudes[usable], rows[usable]
    x, y, z = xyz.T
    table = make()
    table["source_id"] = [f"T{row}" for row in rows]
    table["ra"] = np.round(np.degrees(np.arctan2(y, x)) % 360.0, 6)
    table["dec"] = np.round(np.degrees(np.arctan2(z, np.hypot(x, y))), 6)
    table[name] = np.round(magnitudes, 3)
    table["ref_epoch"] = np.full(len(rows), _EPOCH)
    return table


def _stars_with_magnitudes(path: Path) -> int:
    """Return how many stars of the whole sky an index file holds with magnitudes; 0 where it is another kind."""
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    try:
        with warnings.catch_warnings(), fits.open(path, memmap=True) as hdus:
            warnings.simplefilter("ignore", AstropyWarning)
            if not hdus[0].header.get("ALLSKY"):
                return 0
            by_name = {h.columns.names[0]: h.header for h in hdus[1:] if h.columns.names}
            stars = by_name.get("kdtree_header_stars", {})
            plain = stars.get("KDT_DATA") == "u32" and {"kdtree_range_stars", "kdtree_data_stars"} <= set(by_name)
            rows = [int(h["NAXIS2"]) for name, h in by_name.items() if name.startswith("MAG")]
            return rows[0] if rows and plain and rows[0] == stars.get("KDT_NDAT") else 0
    except (OSError, AttributeError, IndexError, KeyError):
        return 0
