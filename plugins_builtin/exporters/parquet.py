"""Light curves as Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import FileFault, NeedMissing, column_of
from plugins_builtin.shared.curve_faults import table_faults
from plugins_builtin.shared.light_curve_tables import magnitude_system, plain_table, whole_file

if TYPE_CHECKING:
    from astropy.table import Table


@attrs.frozen
class Parquet:
    """An Apache Parquet file (https://parquet.apache.org/docs/file-format/).

    Units, UCDs and meanings are the metadata of the fields, the magnitude system and the time scales that of the file.
    What is unknown is null. It needs the extra `parquet`.
    """

    results_version: ClassVar[int] = 1
    suffix: ClassVar[str] = "parquet"

    def export(self, light_curve: Table, path: Path) -> None:
        """Write the light curve as Parquet.

        Raises
        ------
        NeedMissing
            Where pyarrow is not installed.
        """
        arrow, parquet = _pyarrow()
        table = plain_table(light_curve)
        system = magnitude_system(table)
        fields, arrays = [], []
        for name in table.colnames:
            values = np.ma.asarray(table[name])
            unknown = np.ma.getmaskarray(values)
            if values.dtype.kind == "f":
                unknown = unknown | np.isnan(np.ma.filled(values, np.nan))
            plain = np.ma.getdata(values)
            array = arrow.array(plain.astype(str).tolist() if plain.dtype.kind in "OU" else plain, mask=unknown)
            column = column_of(name, system)
            about = {"unit": str(table[name].unit or "")}
            if column is not None:
                about |= {"ucd": column.ucd, "description": column.meaning}
            fields.append(arrow.field(name, array.type, metadata=about))
            arrays.append(array)
        about = {
            "region": str(table.meta.get("roi", "")), "magnitude_system": system or "none",
            "mjd": "UTC, mid-exposure", "bjd_tdb": "BJD in TDB, mid-exposure",
        }  # fmt: skip
        with whole_file(path) as temporary:
            parquet.write_table(arrow.Table.from_arrays(arrays, schema=arrow.schema(fields, about)), temporary)

    def recognises(self, path: Path) -> bool:
        """Return whether the file is Parquet."""
        with path.open("rb") as stream:
            return stream.read(4) == b"PAR1"

    def faults(self, path: Path) -> Sequence[FileFault]:
        """Return what is wrong in the columns, units, times, errors and magnitudes; rows are counted, not lines."""

        def read() -> Table:
            from astropy.table import MaskedColumn, Table

            content, table = _pyarrow()[1].read_table(path), Table()
            for field in content.schema:
                values = content.column(field.name).to_pylist()
                unknown = [v is None for v in values]
                known = next((v for v in values if v is not None), 0.0)
                filled = [known if v is None else v for v in values]
                unit = (field.metadata or {}).get(b"unit", b"").decode()
                table[field.name] = MaskedColumn(filled, mask=unknown, unit=unit or None)
            return table

        return table_faults(read, rows=False)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise NeedMissing('Parquet needs pyarrow: pip install "lcframework[parquet]"') from None
    return pyarrow, pyarrow.parquet


@hookimpl
def lcf_exporters() -> dict[str, type[Parquet]]:
    """Offer the format."""
    return {"parquet": Parquet}
