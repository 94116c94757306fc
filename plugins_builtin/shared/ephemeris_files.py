"""Tables of times and positions, as JPL Horizons, the Minor Planet Center and users write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lcframework.types import Floats, NeedMissing, UnusableInput
from plugins_builtin.shared.table_files import ColumnMapping, read_table

if TYPE_CHECKING:
    from astropy.table import Table

#: The quantities, and the names that are looked for (lower case): of astroquery, Horizons' texts, the MPC, and plain.
COLUMNS: dict[str, tuple[str, ...]] = {
    "time": ("time", "date", "datetime_jd", "jd", "mjd", "jdut", "jdtdb", "jd_tdb", "jd_utc", "mjd_tdb", "mjd_utc",
             "date__(ut)__hr:mn", "date__(ut)__hr:mn:ss", "date__(ut)__hr:mn:sc.fff", "date_________jdut",
             "date__(tdb)_hr:mn", "datetime_str"),
    "ra": ("ra", "r.a._(icrf)", "r.a.__(icrf)", "r.a.___(icrf)", "r.a._____(icrf)", "ra_icrf", "raj2000"),
    "dec": ("dec", "dec_(icrf)", "dec__(icrf)", "dec___(icrf)", "dec_____(icrf)", "dec_icrf", "dej2000", "decj2000"),
}  # fmt: skip
_OPTION = "[roi.NAME.table] columns"
_BEGIN, _END = "$$SOE", "$$EOE"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: Numbers in these ranges are Julian dates, and modified ones, from 1858 to 2131.
_JD, _MJD = (2_400_000.5, 2_500_000.0), (1.0, 99_999.0)


def read_ephemeris(path: Path, columns: Mapping[str, str], scale: str) -> tuple[Floats, Floats, Floats]:
    """Read a table of positions.

    Parameters
    ----------
    path : Path
        Any table that astropy reads, or what Horizons writes between ``$$SOE`` and ``$$EOE`` with commas.
    columns : mapping
        Names of the columns for ``time``, ``ra`` and ``dec``; one that is left out is looked for.
    scale : str
        Of the times; empty: what the column says.

    Returns
    -------
    time, ra, dec : arrays (n,)
        Julian dates in TDB; degrees.

    Raises
    ------
    NeedMissing
        Where the file, a column or the scale of the times is missing.
    UnusableInput
        Where it can't be read, or a row has no time or no position.
    """
    table = _horizons(path) or read_table(path, "[roi.NAME.table] path")
    names = {quantity: columns.get(quantity) or _found(path, table, quantity) for quantity in COLUMNS}
    apparent = [n for n in (names["ra"], names["dec"]) if re.search(r"app\b|app_|apparent", n, re.IGNORECASE)]
    if apparent:
        raise UnusableInput(
            f"{path}: {' and '.join(apparent)} are apparent positions, of the equinox of date; name the columns of "
            f"astrometric ones (ICRF) in {_OPTION}"
        )
    mapping = ColumnMapping(Path(path), _OPTION, names, frozenset(names), frozenset(names))
    ra, dec = mapping.angles(table, "ra") % 360.0, mapping.angles(table, "dec")
    if names["time"] not in table.colnames:
        mapping.column(table, "time")  # says what there is
    time = _times(path, names["time"], table[names["time"]], scale)
    bad = ~np.isfinite(time + ra + dec) | (np.abs(dec) > 90.0)
    if bad.any():
        raise UnusableInput(f"{path}: row {int(np.argmax(bad)) + 1} has no time, or no position on the sky")
    return time, ra, dec


def tdb_of_utc(mjd: Any) -> Floats:
    """Return Julian dates in TDB of MJDs in UTC."""
    from astropy.time import Time

    return np.asarray(_quiet(Time(2400000.5, np.asarray(mjd, float), format="jd", scale="utc"), "tdb").jd, float)


def _quiet(time: Any, scale: str) -> Any:
    """Return a time in another scale, without warnings of years beyond the known leap seconds."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(time, scale)


def _found(path: Path, table: Table, quantity: str) -> str:
    """Return the column of a table that has one of a quantity's names."""
    lower: dict[str, str] = {name.lower(): name for name in reversed(table.colnames)}
    for name in COLUMNS[quantity]:
        if name in lower:
            return lower[name]
    raise NeedMissing(
        f"{path} has no column that is known to hold {quantity}. It has {', '.join(table.colnames)}. Name it: "
        f'columns = {{ {quantity} = "..." }} in [roi.NAME.table]'
    )


def _times(path: Path, name: str, column: Any, scale: str) -> Floats:
    """Return the Julian dates in TDB of a column of times."""
    from astropy.time import Time

    if isinstance(column, Time):
        scale = _scale(path, name, column.scale, scale)
        return np.asarray(_quiet(column, "tdb").jd, float)
    scale = _scale(path, name, _named_scale(name), scale)
    values = np.ma.filled(np.ma.asarray(column).astype(object), "")
    texts = [str(v.decode() if isinstance(v, bytes) else v).strip() for v in values]
    try:
        numbers = np.array([float(text) for text in texts])
    except ValueError:
        return np.asarray(_quiet(_dates(path, name, texts, scale), "tdb").jd, float)
    for (low, high), zero in ((_JD, 0.0), (_MJD, 2400000.5)):
        if np.all((numbers >= low) & (numbers <= high)):
            return np.asarray(_quiet(Time(zero, numbers, format="jd", scale=scale), "tdb").jd, float)
    raise UnusableInput(
        f"{path}: the column {name!r} for the time holds numbers from {np.min(numbers):.10g} to "
        f"{np.max(numbers):.10g}, which are neither Julian dates nor modified ones"
    )


def _scale(path: Path, name: str, said: str, given: str) -> str:
    """Return the scale of the times: what the table says of it and what the user does must agree."""
    if said and given and said != given:
        raise UnusableInput(
            f"{path}: the column {name!r} says that its times are in {said.upper()}; [roi.NAME.table] time_scale = "
            f'"{given}" says otherwise'
        )
    if not (said or given):
        raise NeedMissing(
            f"{path}: nothing says whether the times in {name!r} are UTC or TDB, which differ by 69 s: give "
            'time_scale = "utc" (tables for observers of Horizons and the MPC), or "tdb", in [roi.NAME.table]'
        )
    return said or given


def _named_scale(name: str) -> str:
    """Return the scale that the name of a column gives; empty where it gives none."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    if "tdb" in words or "jdtdb" in words:
        return "tdb"
    return "utc" if words & {"ut", "utc", "jdut", "jdutc"} else ""


def _dates(path: Path, name: str, texts: list[str], scale: str) -> Any:
    from astropy.time import Time

    months = {month: f"{i:02d}" for i, month in enumerate(_MONTHS, 1)}
    plain = [re.sub(r"[A-Z][a-z]{2}", lambda m: months.get(m[0], m[0]), re.sub(r"^A\.D\. ", "", t)) for t in texts]
    try:
        return Time([text.replace("T", " ") for text in plain], format="iso", scale=scale)
    except ValueError as error:
        raise UnusableInput(f"{path}: the column {name!r} for the time holds no dates ({error})") from None


def _horizons(path: Path) -> Table | None:
    """Return the table in a text of Horizons; None where the file is none.

    Raises
    ------
    UnusableInput
        Where it is one without commas between its columns.
    """
    from astropy.table import Table

    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None  # the reader of tables says what is wrong
    if _BEGIN not in text:
        return None
    head, _, rest = text.partition(_BEGIN)
    titles = [line for line in head.splitlines() if "," in line and ("R.A." in line or "RA" in line)]
    rows = [line.split(",") for line in rest.partition(_END)[0].splitlines() if line.strip()]
    if not titles or not rows:
        raise UnusableInput(f"{path} is a text of Horizons without columns: ask for CSV (comma-separated values)")
    named = [(i, title.strip()) for i, title in enumerate(titles[-1].split(",")) if title.strip()]
    if any(len(row) <= named[-1][0] for row in rows):
        raise UnusableInput(f"{path}: a row between {_BEGIN} and {_END} has fewer columns than titles")
    return Table({title: [row[i].strip() for row in rows] for i, title in named})
