"""The survey ``panstarrs``: Pan-STARRS1 DR1 magnitudes, and ATLAS's c and o made of them, by TAP from VizieR."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import above, web_address, whole_number
from lcframework.sky.geometry import julian_year
from lcframework.types import Bools, Floats, MagnitudeTable, NeedMissing, Region, StarTable
from plugins_builtin.services.adql import in_cone, name_of_a_table, table_name
from plugins_builtin.services.asking import AsksServices
from plugins_builtin.services.tap import TapQuestion, columns_of
from plugins_builtin.shared.sky_positions import enclosing_cone, pairs_within, unambiguous
from plugins_builtin.shared.star_tables import magnitude_table, plain_floats, unknown_band

if TYPE_CHECKING:
    from astropy.table import Table

#: Pan-STARRS1 bands that make up each band that is known. ATLAS cyan and orange: Tonry et al. 2018, PASP 130, 064505,
#: equation 2.
BANDS: Mapping[str, Mapping[str, float]] = {
    **{band: {band: 1.0} for band in "grizy"},
    "c": {"g": 0.49, "r": 0.51},
    "o": {"r": 0.55, "i": 0.45},
}
#: Pan-STARRS1 saw nothing south of this declination, degrees.
SOUTHERN_LIMIT = -31.0
_SUFFIXES = ("_panstarrs", "_ps1", "_atlas")
_COLUMNS = ("RAJ2000", "DEJ2000", "Epoch", "Nd", "Qual", *(f"{p}{b}mag" for b in "grizy" for p in ("", "e_")))
_EXTENDED = 1  # bit of Qual: extended in Pan-STARRS's own data


def panstarrs_query(table: str, region: Region) -> str:
    """Return the ADQL for all detections of a cone, with all bands."""
    where = in_cone("RAJ2000", "DEJ2000", region)
    return f"SELECT {', '.join(_COLUMNS)} FROM {table_name(table)} WHERE {where}"


def read_panstarrs(answer: Table) -> Table:
    """Return an answer's columns as numbers, by the names that were asked for.

    Raises
    ------
    KeyError
        Naming the columns that the answer lacks.
    """
    from astropy.table import Table

    columns = columns_of(answer, {name: name for name in _COLUMNS})
    return Table({name: plain_floats(column) for name, column in columns.items()})


def combined(answer: Table, band: str) -> tuple[Floats, Floats]:
    """Return magnitudes in a band and their errors, of independent measurements in the bands that make it up."""
    parts = BANDS[band]
    mag = sum(weight * np.asarray(answer[f"{name}mag"]) for name, weight in parts.items())
    variance = sum((weight * np.asarray(answer[f"e_{name}mag"])) ** 2 for name, weight in parts.items())
    return np.asarray(mag, float), np.sqrt(np.asarray(variance, float))


@attrs.frozen
class PanStarrs(AsksServices):
    """Pan-STARRS1 g, r, i, z, y and ATLAS c, o magnitudes (AB), asked for all stars at once, matched by position.

    Stars are carried to the epoch of each detection by their proper motion. A star with several detections within
    `max_separation` is left out, unless all but one are spurious (seen in less than a fifth as many exposures).
    """

    results_version: ClassVar[int] = 1

    url: str = attrs.field(default="https://tapvizier.cds.unistra.fr/TAPVizieR/tap", validator=web_address())
    mirror: str = attrs.field(default="", validator=web_address(empty=True))  # of the same table; empty: none
    table: str = attrs.field(default="II/349/ps1", validator=name_of_a_table)
    max_separation: float = attrs.field(default=1.5, validator=above(0.0, finite=True))  # arcsec
    brightest: float = 14.0  # mag: brighter stars saturate in Pan-STARRS
    min_error: float = attrs.field(default=0.01, validator=above(0.0, finite=True))  # mag, of the calibration; added
    timeout: float = attrs.field(default=60.0, validator=above(0.0, finite=True))  # s, for each try
    retries: int = attrs.field(default=3, validator=whole_number())  # of each service
    backoff: float = attrs.field(default=2.0, validator=above(0.0, finite=True))  # s, doubled each time
    max_rows: int = attrs.field(default=500_000, validator=whole_number(1))
    cache_dir: Path | None = None  # unset: the core gives workdir/cache
    offline: bool = False  # true: only the cache answers

    def magnitudes(self, stars: StarTable, band: str) -> MagnitudeTable:
        """Return the magnitudes in `band` of the stars that have an unambiguous match; colour g - r.

        Raises
        ------
        NeedMissing
            For an unknown band; for stars that are all south of Pan-STARRS's sky; where no service gives a whole
            answer, or `offline` and the region is not in the cache.
        """
        name = band
        for suffix in _SUFFIXES:
            name = name.removesuffix(suffix)
        if name not in BANDS:
            raise unknown_band("panstarrs", band, BANDS)
        meta = {"survey": "panstarrs", "band": band, "system": "AB", "colour": "g_r"}
        if len(stars) == 0:
            return magnitude_table([], [], [], meta, [])
        answer = self._answer(stars)
        pairs = self._matches(stars, answer)
        row = answer[pairs[1]]
        mag, error = combined(row, name)
        keep = mag > self.brightest
        return magnitude_table(
            np.asarray(stars["source_id"])[pairs[0]][keep],
            mag[keep],
            np.hypot(error, self.min_error)[keep],
            meta,
            np.asarray(row["gmag"] - row["rmag"])[keep],
        )

    def _answer(self, stars: StarTable) -> Table:
        """Return all detections around the stars."""
        south = float(np.max(stars["dec"]))
        if south < SOUTHERN_LIMIT:
            raise NeedMissing(
                f"Pan-STARRS saw nothing south of declination {SOUTHERN_LIMIT:g}, and these stars lie south of "
                f"{south:.2f}. Choose another survey with [calibration] plugin."
            )
        motion = np.hypot(plain_floats(stars["pmra"]), plain_floats(stars["pmdec"]))
        fastest = float(np.nan_to_num(motion).max())
        # In degrees; 20 years hold any epoch of the survey.
        margin = (2.0 * self.max_separation + 20.0 * fastest / 1000.0) / 3600.0
        ra, dec, radius = enclosing_cone(stars["ra"], stars["dec"], margin)
        # Rounded, so that the same stars ask the same question on every machine.
        region = Region(round(ra, 6), round(dec, 6), round(radius + 1e-5, 5))
        adql = panstarrs_query(self.table, region)
        return self.ask(
            [TapQuestion("VizieR", url, adql, read_panstarrs) for url in (self.url, self.mirror) if url],
            name="panstarrs",
            purpose=f"Pan-STARRS magnitudes within {radius:.4f} deg of ({ra:.5f}, {dec:.5f})",
        )

    def _matches(self, stars: StarTable, answer: Table) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices of stars and of the rows that match them unambiguously."""
        epoch = julian_year(np.asarray(answer["Epoch"], float))
        star, row, _ = pairs_within(stars, answer["RAJ2000"], answer["DEJ2000"], self.max_separation, epoch)
        detections = np.nan_to_num(np.asarray(answer["Nd"], float))[row]
        most = np.zeros(len(stars))
        np.maximum.at(most, star, detections)
        solid = detections > 0.2 * most[star]
        star, row = star[solid], row[solid]
        sure = unambiguous(star, row) & ~_extended(answer)[row]
        return star[sure], row[sure]


def _extended(answer: Table) -> Bools:
    """Return which detections Pan-STARRS calls extended."""
    return np.asarray(np.nan_to_num(np.asarray(answer["Qual"], float)).astype(int) & _EXTENDED > 0, bool)


@hookimpl
def lcf_calibration_surveys() -> dict[str, type]:
    """Offer the survey ``panstarrs``."""
    return {"panstarrs": PanStarrs}
