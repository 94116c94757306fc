"""What the surveys of this package share: the query, keeping its answer, and matching it with the stars."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from lcf_surveys.asking import ask
from lcframework.options import above, web_address, whole_number
from lcframework.types import Floats, NeedMissing, StarTable

if TYPE_CHECKING:
    from astropy.table import Table

_MAS = 3.6e6  # in a degree


@attrs.frozen
class TapSurvey:
    """A survey in a table of a TAP service. A subclass says which columns to ask for, and what they mean."""

    title: ClassVar[str] = ""  # for messages
    position: ClassVar[tuple[str, str]] = ("RA_ICRS", "DE_ICRS")
    columns: ClassVar[tuple[str, ...]] = ()  # beside the position
    #: These options can't change an answer: changing them makes no product out of date.
    operational: ClassVar[frozenset[str]] = frozenset({"url", "timeout", "retries"})

    url: str = attrs.field(default="https://tapvizier.cds.unistra.fr/TAPVizieR/tap", validator=web_address())
    table: str = ""
    max_separation: float = attrs.field(default=1.5, validator=above(0.0, finite=True))  # arcsec
    brightest: float = 14.0  # mag: brighter stars are left out
    min_error: float = attrs.field(default=0.01, validator=above(0.0, finite=True))  # mag, of the calibration; added
    timeout: float = attrs.field(default=60.0, validator=above(0.0, finite=True))  # s, for each try
    retries: int = attrs.field(default=2, validator=whole_number())
    cache_dir: Path | None = None  # lcframework fills in workdir/cache
    offline: bool = False  # lcframework sets it from [run] offline

    def epoch(self, rows: Table) -> Floats | float:
        """Return the Julian year of the survey's positions, one for all or one a row."""
        raise NotImplementedError

    def matched(self, stars: StarTable) -> tuple[np.ndarray, Table]:
        """Return the indices of the stars that match one row and nothing else, and their rows, nan where masked."""
        from astropy.table import Table

        if len(stars) == 0:
            return np.zeros(0, int), Table({name: np.zeros(0) for name in (*self.position, *self.columns)})
        rows = self._answer(self._query(stars))
        star, row = self._pairs(stars, rows)
        return star, rows[row]

    def _query(self, stars: StarTable) -> str:
        """Return the ADQL for all rows in a cone around the stars; names are quoted: some differ in case alone.

        The cone is right at RA 0 and at the poles, and wide enough for stars that moved for 30 years.
        """
        from astropy.coordinates import SkyCoord

        places = SkyCoord(floats(stars["ra"]), floats(stars["dec"]), unit="deg")
        middle = SkyCoord(places.cartesian.mean(), frame="icrs")
        fastest = float(np.nan_to_num(np.hypot(floats(stars["pmra"]), floats(stars["pmdec"]))).max())
        radius = float(places.separation(middle).deg.max()) + 2 * self.max_separation / 3600 + 30 * fastest / _MAS
        ra, dec = self.position
        names = ", ".join(f'"{name}"' for name in (ra, dec, *self.columns))
        return (
            f'SELECT {names} FROM {self._table_name()} WHERE 1 = CONTAINS(POINT(\'ICRS\', "{ra}", "{dec}"), '
            f"CIRCLE('ICRS', {middle.ra.deg:.6f}, {middle.dec.deg:.6f}, {radius + 1e-5:.5f}))"
        )

    def _table_name(self) -> str:
        return f'"{self.table}"' if "/" in self.table else self.table  # VizieR's names hold slashes

    def _answer(self, query: str) -> Table:
        """Return the service's answer as plain numbers and texts, from the cache where it has been asked before."""
        from astropy.table import Table

        stored = None
        if self.cache_dir is not None:
            digest = hashlib.sha256(query.encode()).hexdigest()[:24]
            stored = Path(self.cache_dir) / f"{type(self).__name__.lower()}-{digest}.ecsv"
            if stored.is_file():
                return Table.read(stored, format="ascii.ecsv")
        if self.offline:
            raise NeedMissing(
                f"{self.title}: offline = true and this field is not in the cache; run `lcf prefetch` online"
            )
        answer = self._plain(self._ask(query))
        if stored is not None and len(answer):  # emptiness may be a fault of today's
            stored.parent.mkdir(parents=True, exist_ok=True)
            part = stored.with_suffix(".part")
            answer.write(part, format="ascii.ecsv", overwrite=True)
            part.replace(stored)
        return answer

    def _plain(self, answer: Table) -> Table:
        """Return the columns that were asked for."""
        from astropy.table import Table

        missing = [name for name in (*self.position, *self.columns) if name not in answer.colnames]
        if missing:
            raise NeedMissing(f"{self.title} ({self.url}): the answer lacks the columns {', '.join(missing)}")
        plain = Table()
        for name in (*self.position, *self.columns):
            column = answer[name]
            plain[name] = [str(v).strip() for v in column] if column.dtype.kind in "OSU" else floats(column)
        return plain

    def _ask(self, query: str) -> Table:
        return ask(self.url, query, self.title, self.timeout, self.retries)

    def _pairs(self, stars: StarTable, rows: Table) -> tuple[np.ndarray, np.ndarray]:
        """Return indices of stars and rows that match each other and nothing else, at the epoch of the survey.

        Every row is moved to the stars' place at its own epoch: the search is wide enough for the fastest star, and
        what is then further than `max_separation` is dropped.
        """
        from astropy import units as u
        from astropy.coordinates import SkyCoord, search_around_sky

        none = np.zeros(0, int), np.zeros(0, int)
        if len(rows) == 0:
            return none
        epoch = np.broadcast_to(np.asarray(self.epoch(rows), float), len(rows))
        then = floats(stars["ref_epoch"])
        motion = np.array([np.nan_to_num(floats(stars[name])) / _MAS for name in ("pmra", "pmdec")])  # degrees a year
        years = np.abs(epoch[:, None] - then[None, :]).max() if len(then) else 0.0
        reach = self.max_separation / 3600 + float(years * np.hypot(*motion).max())
        here = SkyCoord(floats(stars["ra"]), floats(stars["dec"]), unit="deg")
        there = SkyCoord(floats(rows[self.position[0]]), floats(rows[self.position[1]]), unit="deg")
        star, row, _, _ = search_around_sky(here, there, reach * u.deg)
        if len(star) == 0:
            return none
        passed = epoch[row] - then[star]
        dec = here.dec.deg[star] + passed * motion[1][star]
        ra = here.ra.deg[star] + passed * motion[0][star] / np.cos(np.radians(dec))
        near = SkyCoord(ra, dec, unit="deg").separation(there[row]).arcsec <= self.max_separation
        star, row = star[near], row[near]
        alone = (np.bincount(star)[star] == 1) & (np.bincount(row)[row] == 1)
        return star[alone], row[alone]


def magnitude_table(
    survey: TapSurvey,
    stars: StarTable,
    star: np.ndarray,
    mag: Floats,
    error: Floats,
    colour: Floats,
    meta: dict[str, str],
) -> Table:
    """Return the stars that have a magnitude below the survey's bright end, with its error and a colour."""
    from astropy import units as u
    from astropy.table import Table

    keep = (mag > survey.brightest) & np.isfinite(error)
    found = Table(meta=meta)
    found["source_id"] = np.asarray(stars["source_id"])[star][keep].astype(str)
    found["mag"] = mag[keep] * u.mag
    found["mag_err"] = np.hypot(error, survey.min_error)[keep] * u.mag
    found["colour"] = colour[keep] * u.mag
    return found


def unknown_band(survey: str, band: str, known: object) -> NeedMissing:
    """Return the error for a band that a survey does not have."""
    names = ", ".join(map(str, known))  # type: ignore[call-overload]
    return NeedMissing(f'{survey} has no band "{band}"; set [calibration] band to one of {names}')


def floats(column: Any) -> Floats:
    """Return a column's numbers, nan where masked."""
    return np.asarray(np.ma.filled(np.ma.asarray(column).astype(float), np.nan))
