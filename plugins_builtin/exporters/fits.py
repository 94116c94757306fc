"""Light curves as binary tables of FITS files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import FileFault, column_of
from plugins_builtin.shared.curve_faults import table_faults
from plugins_builtin.shared.light_curve_tables import magnitude_system, plain_table, whole_file

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.table import Table

_EXTENSION = "LIGHTCURVE"


@attrs.frozen
class FitsTable:
    """A binary table, extension ``LIGHTCURVE``, with units (TUNIT), UCDs (TUCD) and meanings (TCOMM) of all columns.

    As in the FITS standard 4.0 (https://fits.gsfc.nasa.gov/fits_standard.html), section 7.3; TUCD and TCOMM are the
    conventions that TOPCAT reads. The standard has no electron: astropy says so when it reads ``electron/s``, and goes
    on.
    """

    results_version: ClassVar[int] = 1
    suffix: ClassVar[str] = "fits"

    def export(self, light_curve: Table, path: Path) -> None:
        """Write the light curve as a FITS table; what is unknown is nan."""
        from astropy.io import fits

        table = plain_table(light_curve)
        system, region = magnitude_system(table), str(table.meta.get("roi", ""))
        columns = fits.ColDefs([_column(fits, table, name) for name in table.colnames])
        hdu = fits.BinTableHDU.from_columns(columns, name=_EXTENSION)
        hdu.header["OBJECT"] = (region, "region of interest")
        hdu.header["MAGSYS"] = (system or "none", "system of magnitudes")
        hdu.header["TIMESYS"] = ("UTC", "scale of the column mjd")
        hdu.header.add_comment("The column mjd is UTC; the column bjd_tdb is a Julian date in TDB, barycentric.")
        for number, name in enumerate(table.colnames, 1):
            if (column := column_of(name, system)) is not None:
                hdu.header[f"TUCD{number}"] = column.ucd
                hdu.header[f"TCOMM{number}"] = column.meaning
        with whole_file(path) as temporary:
            fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(temporary, overwrite=True)

    def recognises(self, path: Path) -> bool:
        """Return whether the file is FITS with a table of that name."""
        from astropy.io import fits

        with path.open("rb") as stream:
            if stream.read(9) != b"SIMPLE  =":
                return False
        with fits.open(path) as hdus:
            return _EXTENSION in [hdu.name for hdu in hdus]

    def faults(self, path: Path) -> Sequence[FileFault]:
        """Return what is wrong in the columns, units, times, errors and magnitudes; rows are counted, not lines."""

        def read() -> Table:
            from astropy.table import Table
            from astropy.units import UnitsWarning

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UnitsWarning)
                return Table.read(path, format="fits", hdu=_EXTENSION)

        return table_faults(read, rows=False)


def _column(fits: fits, table: Table, name: str) -> fits.Column:
    values, unit = table[name], table[name].unit
    # The standard has no electron; other programs write it all the same.
    text = None if unit is None else unit.to_string("generic").replace(" ", "")
    if values.dtype.kind in "OU":
        texts = np.asarray(np.ma.filled(values, ""), str)
        return fits.Column(name, f"{max(1, int(texts.dtype.itemsize / 4))}A", text, array=texts)
    whole = values.dtype.kind in "iub"
    numbers = np.ma.filled(np.ma.asarray(values), -1 if whole else np.nan)
    return fits.Column(name, "K" if whole else "D", text, array=numbers)


@hookimpl
def lcf_exporters() -> dict[str, type[FitsTable]]:
    """Offer the format."""
    return {"fits": FitsTable}
