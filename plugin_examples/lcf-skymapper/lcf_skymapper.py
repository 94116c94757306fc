"""Calibration magnitudes from SkyMapper DR4 (Onken et al. 2024, PASA 41, e061), as a plugin of lcframework."""

from __future__ import annotations

import hashlib
import time
import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import positive
from lcframework.types import MagnitudeTable, NeedMissing, StarTable

if TYPE_CHECKING:
    from astropy.table import Table

BANDS = ("u", "v", "g", "r", "i", "z")
POSITIONS = ("raj2000", "dej2000", "mean_epoch", "flags_psf")
NORTHERN_LIMIT = 35.0  # degrees; SkyMapper saw nothing north of it
MAS = 3.6e6  # in a degree
MOST_ROWS = 100_000  # one more than these shows that an answer is not whole, also where the service does not say so


@attrs.frozen
class SkyMapper:
    """PSF magnitudes u, v, g, r, i, z (AB) of SkyMapper DR4, asked for all stars at once and matched by position."""

    results_version: ClassVar[int] = 1  # raised when answers change, so that products are made again
    operational: ClassVar[frozenset[str]] = frozenset({"url", "timeout", "retries"})  # can't change an answer

    url: str = "https://api.skymapper.nci.org.au/public/tap"
    table: str = "dr4.master"
    max_separation: float = attrs.field(default=1.5, validator=positive)  # arcsec
    brightest: float = 9.0  # mag: brighter stars saturate
    min_error: float = attrs.field(default=0.01, validator=positive)  # mag, added: the survey's calibration
    timeout: float = attrs.field(default=60.0, validator=positive)  # s
    retries: int = 2
    cache_dir: Path | None = None  # lcframework fills in workdir/cache
    offline: bool = False  # lcframework sets it from [run] offline

    def magnitudes(self, stars: StarTable, band: str) -> MagnitudeTable:
        """Return the magnitudes of the stars that have exactly one match.

        Raises
        ------
        NeedMissing
            For an unknown band, stars beyond the survey, or a service that does not answer.
        """
        from astropy import units as u
        from astropy.table import Table

        name = band.removesuffix("_skymapper")
        if name not in BANDS:
            raise NeedMissing(f"SkyMapper has no band {band!r}; set [calibration] band to one of {', '.join(BANDS)}")
        found = Table(meta={"survey": "skymapper", "band": band, "system": "AB", "colour": "g_r"})
        if len(stars) == 0:
            star, rows = np.zeros(0, int), {key: np.zeros(0) for key in ("mag", "error", "g", "r")}
        else:
            answer = self._answer(self._query(stars))
            star, row = self._matches(stars, answer)
            keys = {"mag": f"{name}_psf", "error": f"e_{name}_psf", "g": "g_psf", "r": "r_psf"}
            rows = {key: _floats(answer[column])[row] for key, column in keys.items()}
        keep = (rows["mag"] > self.brightest) & np.isfinite(rows["error"])
        found["source_id"] = np.asarray(stars["source_id"])[star][keep].astype(str)
        found["mag"] = rows["mag"][keep] * u.mag
        found["mag_err"] = np.hypot(rows["error"], self.min_error)[keep] * u.mag
        found["colour"] = (rows["g"] - rows["r"])[keep] * u.mag
        return Table(found)

    def _query(self, stars: StarTable) -> str:
        """Return the ADQL for everything in a cone around all stars; the cone is right at RA 0 and at the pole."""
        from astropy.coordinates import SkyCoord

        places = SkyCoord(stars["ra"], stars["dec"], unit="deg")
        south = float(places.dec.deg.min())
        if south > NORTHERN_LIMIT:
            raise NeedMissing(
                f"SkyMapper saw nothing north of declination {NORTHERN_LIMIT:g}, and these stars lie north of "
                f"{south:.1f}; choose another survey with [calibration] plugin"
            )
        middle = SkyCoord(places.cartesian.mean(), frame="icrs")
        fastest = float(np.nan_to_num(np.hypot(_floats(stars["pmra"]), _floats(stars["pmdec"]))).max())
        radius = float(places.separation(middle).deg.max()) + 2 * self.max_separation / 3600 + 20 * fastest / MAS
        columns = [*POSITIONS, *(f"{prefix}{band}_psf" for band in BANDS for prefix in ("", "e_"))]
        return (
            f"SELECT {', '.join(columns)} FROM {self.table} WHERE 1 = CONTAINS(POINT('ICRS', raj2000, dej2000), "
            f"CIRCLE('ICRS', {middle.ra.deg:.6f}, {middle.dec.deg:.6f}, {radius + 1e-5:.5f}))"
        )

    def _answer(self, query: str) -> Table:
        """Return the service's answer, from the cache where it has been asked before."""
        from astropy.table import Table

        stored = None
        if self.cache_dir is not None:
            stored = Path(self.cache_dir) / f"skymapper-{hashlib.sha256(query.encode()).hexdigest()[:24]}.fits"
            if stored.is_file():
                return Table.read(stored)
        if self.offline:
            raise NeedMissing("SkyMapper: offline = true and this field is not in the cache; run `lcf prefetch` online")
        answer = self._ask(query)
        if stored is not None and len(answer):  # emptiness may be a fault of today's
            stored.parent.mkdir(parents=True, exist_ok=True)
            part = stored.with_suffix(".part")
            part.write_bytes(_as_fits(answer))
            part.replace(stored)
        return answer

    def _ask(self, query: str) -> Table:
        """Ask the service, again where it fails."""
        import pyvo
        import requests

        class Session(requests.Session):
            def request(session, *args: Any, **kwargs: Any) -> Any:
                return super().request(*args, **{**kwargs, "timeout": self.timeout})

        for attempt in range(self.retries + 1):
            try:
                with Session() as session, warnings.catch_warnings():
                    warnings.simplefilter("ignore", pyvo.dal.DALOverflowWarning)  # an error, below
                    results = pyvo.dal.TAPQuery(self.url, query, maxrec=MOST_ROWS + 1, session=session).execute()
                    answer = results.to_table()
            except (pyvo.dal.DALAccessError, requests.RequestException, OSError) as error:
                if attempt == self.retries:
                    raise NeedMissing(
                        f"SkyMapper ({self.url}) does not answer: {' '.join(str(error).split())[:200]}. Try again "
                        f"later, or calibrate with another [calibration] plugin."
                    ) from error
                time.sleep(min(2.0**attempt, self.timeout))
                continue
            if _overflowed(results.votable) or len(answer) > MOST_ROWS:
                raise NeedMissing("SkyMapper cut its answer short: too many stars around these; use fewer")
            return answer
        raise AssertionError("unreachable")

    def _matches(self, stars: StarTable, answer: Table) -> tuple[np.ndarray, np.ndarray]:
        """Return indices of stars and rows that match each other and nothing else."""
        from astropy import units as u
        from astropy.coordinates import SkyCoord, search_around_sky

        none = np.zeros(0, int), np.zeros(0, int)
        if len(answer) == 0:
            return none
        epoch = 2000.0 + (float(np.nanmedian(_floats(answer["mean_epoch"]))) - 51544.5) / 365.25
        years = epoch - _floats(stars["ref_epoch"])
        dec = _floats(stars["dec"]) + np.nan_to_num(years * _floats(stars["pmdec"])) / MAS
        east = np.nan_to_num(years * _floats(stars["pmra"])) / MAS
        ra = _floats(stars["ra"]) + east / np.cos(np.radians(dec))
        there = SkyCoord(_floats(answer["raj2000"]), _floats(answer["dej2000"]), unit="deg")
        star, row, _, _ = search_around_sky(SkyCoord(ra, dec, unit="deg"), there, self.max_separation * u.arcsec)
        if len(star) == 0:
            return none
        alone = (np.bincount(star)[star] == 1) & (np.bincount(row)[row] == 1)
        clean = np.nan_to_num(_floats(answer["flags_psf"]))[row] == 0
        return star[alone & clean], row[alone & clean]


def _overflowed(votable: Any) -> bool:
    """Return whether any QUERY_STATUS of the document says OVERFLOW; services put it in a resource or in its table."""
    infos = list(votable.infos)
    for resource in votable.resources:
        infos += [*resource.infos, *(info for table in resource.tables for info in table.infos)]
    return any(info.name == "QUERY_STATUS" and str(info.value).upper() == "OVERFLOW" for info in infos)


def _floats(column: Any) -> np.ndarray:
    """Return a column's numbers, nan where masked."""
    return np.ma.filled(np.ma.asarray(column).astype(float), np.nan)


def _as_fits(table: Table) -> bytes:
    from astropy.table import Table

    plain = Table({name: _floats(table[name]) for name in table.colnames})
    stream = BytesIO()
    plain.write(stream, format="fits")
    return stream.getvalue()


@hookimpl
def lcf_calibration_surveys() -> dict[str, type]:
    """Return the survey ``skymapper``."""
    return {"skymapper": SkyMapper}
