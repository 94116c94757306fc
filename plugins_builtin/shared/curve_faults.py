"""The check of files that hold a light curve whole: its columns, units, times and magnitudes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lcframework.types import Bools, FileFault, Floats, column_of, source_names
from plugins_builtin.shared.file_faults import JULIAN, MODIFIED_JULIAN, Faults
from plugins_builtin.shared.star_tables import plain_floats

if TYPE_CHECKING:
    from astropy.table import Table

_NEEDED = ("mjd", "band", "instrument")
#: Days by which light comes earlier to the solar system's barycentre than to the Earth, and the clock TDB is ahead.
_BARYCENTRIC = 0.0067
#: Blanks and marks by which formats write a unit that they do not have, the electron.
_NO_MARKS = str.maketrans("", "", " '")
#: By how much a magnitude may differ from that of its flux: files may round.
_ROUNDING = 2e-3


def table_faults(read: Callable[[], Table], header: int = 1, rows: bool = True) -> Sequence[FileFault]:
    """Return what is wrong in a file of a light curve.

    Parameters
    ----------
    read : callable
        Reads the file. What it raises is a fault.
    header : int
        The line with the names of the columns, in a text.
    rows : bool
        Whether rows are lines, the first the one below the names; else faults have no line.
    """
    faults = Faults()
    try:
        table = read()
    except Exception as error:
        faults.add(f"it can't be read: {error}".splitlines()[0])
        return faults.found
    line = header if rows else 0
    faults.missing(table.colnames, _NEEDED, line)
    sources = source_names(table.colnames)
    if not sources:
        faults.add("there is no source: no columns <source>_flux and <source>_d_flux", line)
    for name in table.colnames:
        _declared(table, name, line, faults)
    if faults.found:
        return faults.found
    values = _numbers(table, sources)

    def where(bad: Bools, message: str, column: str) -> None:
        for i in np.flatnonzero(bad):
            place = header + 1 + int(i) if rows else 0
            faults.add(message if rows else f"row {i + 1}: {message}", place, column)

    _times(values, where)
    for source in sources:
        _fluxes(values, source, where)
    return sorted(faults.found, key=lambda f: f.line)


def _declared(table: Table, name: str, line: int, faults: Faults) -> None:
    """Note a column that no light curve has, and a unit that is not the declared one."""
    from astropy import units

    column = column_of(name)
    if column is None:
        faults.add("no light curve has such a column", line, name)
        return
    unit = table[name].unit
    if unit is None:
        return
    wanted = units.Unit(column.unit) if column.unit else units.dimensionless_unscaled
    if str(unit).translate(_NO_MARKS) != str(wanted).translate(_NO_MARKS) and unit != wanted:
        faults.add(f'the unit is "{unit}", not "{column.unit}"', line, name)


def _numbers(table: Table, sources: Sequence[str]) -> dict[str, Floats]:
    wanted = ["mjd", "bjd_tdb", "zeropoint", *(f"{s}_{c}" for s in sources for c in ("flux", "d_flux", "mag"))]
    return {n: plain_floats(table[n]) for n in wanted if n in table.colnames}


def _times(values: dict[str, Floats], where: Callable[[Bools, str, str], None]) -> None:
    mjd = values["mjd"]
    where(~((mjd > MODIFIED_JULIAN[0]) & (mjd < MODIFIED_JULIAN[1])), "no MJD of the years 1900 to 2100", "mjd")
    if "bjd_tdb" in values:
        bjd = values["bjd_tdb"]
        known = np.isfinite(bjd)
        odd = known & ~((bjd > JULIAN[0]) & (bjd < JULIAN[1]))
        where(odd, "no Julian date of the years 1900 to 2100", "bjd_tdb")
        with np.errstate(invalid="ignore"):
            far = known & ~odd & (np.abs(bjd - mjd - 2400000.5) > _BARYCENTRIC)
        where(far, "further from mjd than the barycentre is", "bjd_tdb")


def _fluxes(values: dict[str, Floats], source: str, where: Callable[[Bools, str, str], None]) -> None:
    flux, error = values[f"{source}_flux"], values[f"{source}_d_flux"]
    where(np.isfinite(flux) & ~(error > 0), "a flux without a positive error", f"{source}_d_flux")
    mag, zeropoint = values.get(f"{source}_mag"), values.get("zeropoint")
    if mag is None or zeropoint is None:
        return
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = zeropoint - 2.5 * np.log10(flux)
        where(
            np.isfinite(mag) & ~(np.abs(mag - expected) < _ROUNDING), "not the magnitude of its flux", f"{source}_mag"
        )
