"""The star catalogue ``vizier``: any catalogue of the VizieR service, by TAP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import above, mapping_of, web_address, whole_number
from lcframework.types import CatalogLimits, Region, StarTable
from plugins_builtin.services.adql import between, column_name, in_cone, name_of_a_table, number, table_name
from plugins_builtin.services.asking import AsksServices
from plugins_builtin.services.tap import TapQuestion
from plugins_builtin.shared.star_tables import plain_floats, select, star_table

if TYPE_CHECKING:
    from astropy.table import Table

#: Columns of VizieR's I/259/tyc2 by the names of STARS; ``+`` joins several columns to one identifier.
TYCHO2 = {
    "source_id": "TYC1+TYC2+TYC3",
    "ra": "RAmdeg",
    "dec": "DEmdeg",
    "magnitude": "VTmag",
    "pmra": "pmRA",
    "pmdec": "pmDE",
}
QUANTITIES = (
    *TYCHO2,
    "ref_epoch",
    "bp",
    "rp",
    "astrometric_excess_noise",
    "flux_over_error",
)


def selected_columns(mapping: Mapping[str, str]) -> dict[str, str]:
    """Return the ADQL of each selected column by its alias: ``q_ra``, ..., and ``id_0``, ... for the identifier."""
    selected = {f"id_{i}": column_name(part.strip()) for i, part in enumerate(mapping["source_id"].split("+"))}
    return selected | {f"q_{name}": column_name(column) for name, column in mapping.items() if name != "source_id"}


def vizier_query(catalog: str, mapping: Mapping[str, str], region: Region, limits: CatalogLimits) -> str:
    """Return the ADQL for the stars of a region's cone within limits."""
    columns = selected_columns(mapping)
    conditions = [in_cone(columns["q_ra"], columns["q_dec"], region)]
    conditions += between(columns["q_magnitude"], limits.magnitude)
    noise = columns.get("q_astrometric_excess_noise")
    if noise and np.isfinite(limits.max_astrometric_excess_noise):
        conditions += between(noise, (-np.inf, limits.max_astrometric_excess_noise))
    signal = columns.get("q_flux_over_error")
    if signal and limits.min_flux_over_error > 0:
        conditions.append(f"{signal} >= {number(limits.min_flux_over_error)}")
    selection = ", ".join(f"{column} AS {alias}" for alias, column in columns.items())
    return f"SELECT {selection} FROM {table_name(catalog)} WHERE {' AND '.join(conditions)}"


def read_vizier(answer: Table, mapping: Mapping[str, str]) -> Table:
    """Return an answer with the names of STARS.

    Raises
    ------
    KeyError
        Naming a column that the answer lacks.
    """
    from astropy.table import Table

    found = {name.lower(): name for name in answer.colnames}
    parts = []
    read = Table()
    for alias, column in selected_columns(mapping).items():
        if alias not in found:
            raise KeyError(column)
        values = answer[found[alias]]
        if alias.startswith("id_"):
            parts.append([str(value).strip() for value in values])
        else:
            read[alias.removeprefix("q_")] = plain_floats(values)
    read["source_id"] = ["-".join(row) for row in zip(*parts, strict=True)]
    return read


@attrs.frozen
class Vizier(AsksServices):
    """Stars of any VizieR catalogue, by TAP; the defaults are those of Tycho-2.

    A quantity that `columns` does not map is unknown: give a catalogue of your own all of its columns, by the names
    that VizieR has for them. Positions must be ICRS degrees.
    """

    results_version: ClassVar[int] = 1
    operational: ClassVar[frozenset[str]] = AsksServices.operational | {"server"}

    catalog: str = attrs.field(default="I/259/tyc2", validator=name_of_a_table)
    columns: Mapping[str, str] = attrs.field(factory=lambda: dict(TYCHO2), validator=mapping_of(QUANTITIES, "a column"))
    # Julian year of the positions, where `columns` maps none
    ref_epoch: float = attrs.field(default=2000.0, validator=above(1800.0, finite=True))
    server: str = attrs.field(default="https://tapvizier.cds.unistra.fr/TAPVizieR/tap", validator=web_address())
    mirror: str = attrs.field(default="", validator=web_address(empty=True))  # of the same tables; empty: none
    timeout: float = attrs.field(default=60.0, validator=above(0.0, finite=True))  # s, for each try
    retries: int = attrs.field(default=3, validator=whole_number())  # of each service
    backoff: float = attrs.field(default=2.0, validator=above(0.0, finite=True))  # s, doubled each time
    max_rows: int = attrs.field(default=100_000, validator=whole_number(1))
    cache_dir: Path | None = None  # unset: the core gives workdir/cache
    offline: bool = False  # true: only the cache answers

    @columns.validator
    def _has_what_is_needed(self, attribute: Any, value: Mapping[str, str]) -> None:
        missing = [q for q in ("source_id", "ra", "dec", "magnitude") if q not in value]
        if missing:
            raise ValueError(f"columns must also map {', '.join(missing)}")

    def query(self, region: Region, limits: CatalogLimits) -> StarTable:
        """Return the stars of `region` within `limits`, sorted by source_id.

        Raises
        ------
        NeedMissing
            Where no service gives a whole answer, or `offline` and the region is not in the cache.
        """
        adql = vizier_query(self.catalog, self.columns, region, limits)
        servers = [url for url in (self.server, self.mirror) if url]
        answer = self.ask(
            [TapQuestion("VizieR", url, adql, lambda table: read_vizier(table, self.columns)) for url in servers],
            name="vizier",
            purpose=f"{self.catalog} within {region.radius:.4f} deg of ({region.ra:.5f}, {region.dec:.5f})",
        )
        columns: dict[str, Any] = {name: answer[name] for name in answer.colnames}
        epoch = plain_floats(columns["ref_epoch"]) if "ref_epoch" in columns else np.full(len(answer), np.nan)
        columns["ref_epoch"] = np.where(np.isfinite(epoch), epoch, self.ref_epoch)
        meta = {"catalog": "vizier", "table": self.catalog, "band": self.columns["magnitude"]}
        return select(star_table(columns, meta), region, limits)


@hookimpl
def lcf_star_catalogs() -> dict[str, type]:
    """Offer the star catalogue ``vizier``."""
    return {"vizier": Vizier}
