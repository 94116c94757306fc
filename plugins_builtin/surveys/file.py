"""The survey ``file``: magnitudes of a table of the user's own, matched by position."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import above, mapping_of, one_of
from lcframework.types import Floats, Ints, MagnitudeTable, StarTable
from plugins_builtin.shared.sky_positions import pairs_within, unambiguous, unit_vectors
from plugins_builtin.shared.star_tables import magnitude_table
from plugins_builtin.shared.table_files import ColumnMapping, read_table

COLUMNS = {"ra": "ra", "dec": "dec", "magnitude": "r_mag", "magnitude_error": "r_mag_err"}
QUANTITIES = (*COLUMNS, "colour")
#: Arcsec and mag within which a row repeats another.
_REPEATED_WITHIN, _SAME_MAGNITUDE = 0.5, 0.03


@attrs.frozen
class TableOfMagnitudes:
    """Magnitudes of a table in any format that astropy reads.

    A star takes the magnitude of the row within `max_separation` of it. Where several rows are that close to a star,
    or several stars to a row, the match is ambiguous, and those stars are left out. Rows that repeat another (within
    0.5 arcsec, with the same magnitude) are one with it.
    """

    results_version: ClassVar[int] = 2

    path: Path = Path("stars.ecsv")
    system: str = attrs.field(default="AB", validator=one_of("AB", "Vega"))
    # "{band}" in a name is replaced by the band asked for; `colour` may be mapped too
    columns: Mapping[str, str] = attrs.field(
        factory=lambda: dict(COLUMNS), validator=mapping_of(QUANTITIES, "a column")
    )
    max_separation: float = attrs.field(default=1.5, validator=above(0.0, finite=True))  # arcsec
    epoch: float | None = None  # Julian year of the table's positions; unset: as the stars'
    default_error: float = attrs.field(default=0.05, validator=above(0.0, finite=True))  # mag, where no column has it

    def magnitudes(self, stars: StarTable, band: str) -> MagnitudeTable:
        """Return the magnitudes of the stars that have an unambiguous match.

        Raises
        ------
        NeedMissing
            Where the file or a column is missing.
        UnusableInput
            Where the file can't be read, or a column holds no numbers.
        """
        table = read_table(self.path, "[calibration.file] path")
        given = {quantity: name.replace("{band}", band) for quantity, name in self.columns.items()}
        mapping = ColumnMapping.of(
            self.path, "[calibration.file] columns", given, COLUMNS, needed=("ra", "dec", "magnitude")
        )
        ra, dec = mapping.angles(table, "ra"), mapping.angles(table, "dec")
        mag = mapping.needed_numbers(table, "magnitude", "mag")
        error = mapping.numbers(table, "magnitude_error", "mag")
        colour = mapping.numbers(table, "colour", "mag") if "colour" in given else None
        error = np.full(len(table), np.nan) if error is None else error
        error = np.where(error > 0, error, self.default_error)  # 0 and nan are ways to write "unknown"
        with_position = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
        with_position = with_position[without_repeats(*(v[with_position] for v in (ra, dec, mag, error)))]
        star, row, _ = pairs_within(stars, ra[with_position], dec[with_position], self.max_separation, self.epoch)
        sure = unambiguous(star, row)
        star, row = star[sure], with_position[row[sure]]
        meta: dict[str, Any] = {"survey": "file", "path": str(self.path), "band": band, "system": self.system}
        if colour is not None:
            meta["colour"] = given["colour"]
        names = np.asarray(stars["source_id"])[star]
        return magnitude_table(names, mag[row], error[row], meta, None if colour is None else colour[row])


def without_repeats(ra: Floats, dec: Floats, mag: Floats, error: Floats) -> Ints:
    """Return the rows without those that repeat a better one: at its place, with its magnitude within the errors."""
    from scipy.spatial import cKDTree

    within = np.radians(_REPEATED_WITHIN / 3600.0)
    pairs = cKDTree(unit_vectors(ra, dec)).query_pairs(within, output_type="ndarray")
    with np.errstate(invalid="ignore"):
        alike = np.abs(np.subtract(*mag[pairs.T])) <= np.maximum(_SAME_MAGNITUDE, 3.0 * np.hypot(*error[pairs.T]))
    worse = [j if error[i] <= error[j] else i for i, j in pairs[alike]]
    return np.setdiff1d(np.arange(len(ra)), worse)


@hookimpl
def lcf_calibration_surveys() -> dict[str, type]:
    """Offer the survey ``file``."""
    return {"file": TableOfMagnitudes}
