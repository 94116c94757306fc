"""The AAVSO's Variable Star Index, by VizieR's copy of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import above, true_or_false, web_address, whole_number
from lcframework.types import Region, VariableTable
from plugins_builtin.services.adql import between, in_cone, name_of_a_table, table_name
from plugins_builtin.services.asking import AsksServices
from plugins_builtin.services.tap import TapQuestion, columns_of
from plugins_builtin.shared.star_tables import plain_floats

if TYPE_CHECKING:
    from astropy.table import Table

_COLUMNS = {"name": "Name", "ra": "RAJ2000", "dec": "DEJ2000", "type": "Type", "flag": "V"}
#: The flag V of B/vsx: 0 is a variable star, 1 a suspected one, 2 one that is constant, 3 another entry of a star.
_SURE, _SUSPECTED = 0, 1


@attrs.frozen
class Vsx(AsksServices):
    """The Variable Star Index in VizieR's B/vsx, by TAP; stars that turned out to be constant are none of it.

    The columns are described at https://cdsarc.cds.unistra.fr/viz-bin/cat/B/vsx.
    """

    results_version: ClassVar[int] = 1
    operational: ClassVar[frozenset[str]] = AsksServices.operational | {"server"}

    suspected: bool = attrs.field(default=True, validator=true_or_false)  # take suspected variables for variables
    catalog: str = attrs.field(default="B/vsx/vsx", validator=name_of_a_table)
    server: str = attrs.field(default="https://tapvizier.cds.unistra.fr/TAPVizieR/tap", validator=web_address())
    mirror: str = attrs.field(default="", validator=web_address(empty=True))  # of the same table; empty: none
    timeout: float = attrs.field(default=60.0, validator=above(0.0, finite=True))  # s, for each try
    retries: int = attrs.field(default=3, validator=whole_number())  # of each service
    backoff: float = attrs.field(default=2.0, validator=above(0.0, finite=True))  # s, doubled each time
    max_rows: int = attrs.field(default=100_000, validator=whole_number(1))
    cache_dir: Path | None = None  # unset: the core gives workdir/cache
    offline: bool = False  # true: only the cache answers

    def variables(self, region: Region) -> VariableTable:
        """Return the variable stars in a region's cone; none is kept as an answer too.

        Raises
        ------
        NeedMissing
            Where no service gives a whole answer, or `offline` and the region is not in the cache.
        """
        from astropy.table import Table

        adql = self._query(region)
        answer = self.ask(
            [TapQuestion("VizieR", url, adql, _read) for url in (self.server, self.mirror) if url],
            name="vsx",
            purpose=f"variable stars within {region.radius:.4f} deg of ({region.ra:.5f}, {region.dec:.5f})",
            nothing=True,
        )
        table = Table()
        table["name"] = [str(name).strip() for name in answer["name"]]
        table["ra"], table["dec"] = (plain_floats(answer[c]) for c in ("ra", "dec"))
        table["type"] = ["" if np.ma.is_masked(kind) else str(kind).strip() for kind in answer["type"]]
        table["ref_epoch"] = np.full(len(answer), 2000.0)
        table = table[np.isfinite(table["ra"]) & np.isfinite(table["dec"])] if len(table) else _empty()
        table.sort(["ra", "name"])
        return table

    def _query(self, region: Region) -> str:
        """Return the ADQL for the variables of a cone."""
        columns = ", ".join(f'"{name}" AS q_{alias}' for alias, name in _COLUMNS.items())
        conditions = [in_cone('"RAJ2000"', '"DEJ2000"', region)]
        conditions += between('"V"', (-np.inf, _SUSPECTED if self.suspected else _SURE))
        return f"SELECT {columns} FROM {table_name(self.catalog)} WHERE {' AND '.join(conditions)}"


def _read(answer: Table) -> Table:
    from astropy.table import Table

    return Table(columns_of(answer, {alias: f"q_{alias}" for alias in _COLUMNS}))


def _empty() -> Table:
    from astropy.table import Table

    names = ("name", "ra", "dec", "type", "ref_epoch")
    return Table(names=names, dtype=("U1", "f8", "f8", "U1", "f8"))


@hookimpl
def lcf_variable_catalogs() -> dict[str, type]:
    """Offer the catalogue of variable stars ``vsx``."""
    return {"vsx": Vsx}
