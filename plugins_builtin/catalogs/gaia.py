"""The star catalogue ``gaia``: Gaia DR3 through TAP, from the ESA archive or a mirror."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import above, web_address, whole_number
from lcframework.types import CatalogLimits, Region, StarTable
from plugins_builtin.services.adql import between, in_cone, name_of_a_table, number, table_name
from plugins_builtin.services.asking import AsksServices
from plugins_builtin.services.tap import TapQuestion, columns_of
from plugins_builtin.shared.star_tables import plain_floats, select, star_table

if TYPE_CHECKING:
    from astropy.table import Table

#: Columns of the Gaia archive (and of mirrors that keep its names) by the names of STARS.
ARCHIVE = {
    "source_id": "source_id",
    "ra": "ra",
    "dec": "dec",
    "ref_epoch": "ref_epoch",
    "pmra": "pmra",
    "pmdec": "pmdec",
    "magnitude": "phot_g_mean_mag",
    "bp": "phot_bp_mean_mag",
    "rp": "phot_rp_mean_mag",
    "astrometric_excess_noise": "astrometric_excess_noise",
    "flux_over_error": "phot_g_mean_flux_over_error",
    "variable": "phot_variable_flag",
}
#: The same in VizieR's copy, which has no column for the epoch: it is 2016.0 throughout DR3.
VIZIER = {
    "source_id": "Source",
    "ra": "RA_ICRS",
    "dec": "DE_ICRS",
    "pmra": "pmRA",
    "pmdec": "pmDE",
    "magnitude": "Gmag",
    "bp": "BPmag",
    "rp": "RPmag",
    "astrometric_excess_noise": "epsi",
    "flux_over_error": "RFG",
    "variable": "VarFlag",
}
DR3_EPOCH = 2016.0


def names_in(table: str) -> Mapping[str, str]:
    """Return the columns of a table of Gaia sources by the names of STARS; a slash in its name makes it VizieR's."""
    return VIZIER if "/" in table else ARCHIVE


def gaia_query(table: str, region: Region, limits: CatalogLimits) -> str:
    """Return the ADQL for the stars of a region's cone within limits."""
    names = names_in(table)
    conditions = [in_cone(names["ra"], names["dec"], region), *between(names["magnitude"], limits.magnitude)]
    if np.isfinite(limits.max_astrometric_excess_noise):
        noise = names["astrometric_excess_noise"]
        conditions += between(noise, (-np.inf, limits.max_astrometric_excess_noise))
    if limits.min_flux_over_error > 0:
        conditions.append(f"{names['flux_over_error']} >= {number(limits.min_flux_over_error)}")
    return f"SELECT {', '.join(names.values())} FROM {table_name(table)} WHERE {' AND '.join(conditions)}"


def read_gaia(answer: Table, table: str) -> Table:
    """Return an answer of the archive or a mirror with the names of STARS.

    Raises
    ------
    KeyError
        Naming the columns that the answer lacks.
    """
    from astropy.table import Table

    read = Table()
    for name, column in columns_of(answer, names_in(table)).items():
        if name == "source_id":
            read[name] = [str(value) for value in column]
        elif name == "variable":
            read[name] = [str(value).strip().upper() == "VARIABLE" for value in column]
        else:
            read[name] = plain_floats(column)
    if "ref_epoch" not in read.colnames:
        read["ref_epoch"] = np.full(len(answer), DR3_EPOCH)
    return read


@attrs.frozen
class Gaia(AsksServices):
    """Stars of Gaia DR3, by TAP.

    Answers are kept in `cache_dir`, so that a region is asked for once. Where the archive gives no whole answer after
    all retries, the mirror is asked.
    """

    results_version: ClassVar[int] = 1
    operational: ClassVar[frozenset[str]] = AsksServices.operational | {"mirror_table"}

    url: str = attrs.field(default="https://gea.esac.esa.int/tap-server/tap", validator=web_address())
    table: str = attrs.field(default="gaiadr3.gaia_source", validator=name_of_a_table)
    # empty: no mirror
    mirror: str = attrs.field(
        default="https://tapvizier.cds.unistra.fr/TAPVizieR/tap", validator=web_address(empty=True)
    )
    # a name with a slash has VizieR's columns, any other the archive's
    mirror_table: str = attrs.field(default="I/355/gaiadr3", validator=name_of_a_table)
    timeout: float = attrs.field(default=60.0, validator=above(0.0, finite=True))  # s, for each try
    retries: int = attrs.field(default=3, validator=whole_number())  # of each service
    backoff: float = attrs.field(default=2.0, validator=above(0.0, finite=True))  # s, doubled each time
    max_rows: int = attrs.field(default=100_000, validator=whole_number(1))
    cache_dir: Path | None = None  # unset: the core gives workdir/cache
    offline: bool = False  # true: only the cache answers

    def query(self, region: Region, limits: CatalogLimits) -> StarTable:
        """Return the stars of `region` within `limits`, sorted by source_id.

        Raises
        ------
        NeedMissing
            Where neither archive nor mirror gives a whole answer, or `offline` and the region is not in the cache.
        """
        services = [("Gaia archive", self.url, self.table)]
        if self.mirror:
            services.append(("Gaia mirror", self.mirror, self.mirror_table))
        answer = self.ask(
            [self._question(*service, region, limits) for service in services],
            name="gaia",
            purpose=f"Gaia stars within {region.radius:.4f} deg of ({region.ra:.5f}, {region.dec:.5f})",
        )
        meta = {"catalog": "gaia", "release": "DR3", "band": "G", "system": "Vega"}
        columns: dict[str, Any] = {name: answer[name] for name in answer.colnames}
        columns["variable"] = [str(value) == "True" for value in columns["variable"]]
        return select(star_table(columns, meta), region, limits)

    @staticmethod
    def _question(service: str, url: str, table: str, region: Region, limits: CatalogLimits) -> TapQuestion:
        return TapQuestion(service, url, gaia_query(table, region, limits), lambda answer: read_gaia(answer, table))


@hookimpl
def lcf_star_catalogs() -> dict[str, type]:
    """Offer the star catalogue ``gaia``."""
    return {"gaia": Gaia}
