"""The reference stars: the Gaia archive, a table of the user's, or the stars of Astrometry.net's index files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from lcframework.first_look.index_stars import index_stars
from lcframework.first_look.targets import reachable
from lcframework.types import LcfError

if TYPE_CHECKING:
    from astropy.table import Table

GAIA = "gea.esac.esa.int"
#: The names by which columns are known, best first, without case and separators; and the names that the catalogue
#: ``file`` looks for by itself.
_COLUMNS = {
    "source_id": (r"source_?id", r"(star|obj|object|tyc|gaia)?_?(id|name)", r"source|designation"),
    "ra": (r"ra(_?(icrs|j2000|deg|mdeg|x))*", r"_?raj2000|raicrs|alpha(_?j2000)?|ramdeg"),
    "dec": (r"de(c|cl)?(_?(icrs|j2000|deg|mdeg|x))*", r"_?dej2000|deicrs|delta(_?j2000)?|demdeg"),
    "magnitude": (
        r"phot_g_mean_mag", r"gmag|g_?mag", r"mag(nitude)?", r"v_?t?_?mag|mag_?v_?t?|vt|v", r"r_?mag|mag_?r|r|rpmag",
        r"[a-z]{1,2}_?t?_?mag|mag_?[a-z]{1,2}",
    ),
}  # fmt: skip
_DEFAULT = {"source_id": "source_id", "ra": "ra", "dec": "dec", "magnitude": "phot_g_mean_mag"}
_NEEDED = ("ra", "dec", "magnitude")
INDEX_TABLE = "tycho2.ecsv"


@attrs.frozen(eq=False)
class Stars:
    """Where the reference stars come from.

    Attributes
    ----------
    lines : tuple of str
        The tables of the project file.
    note : str
    table : astropy.table.Table, optional
        To be written beside the project file as `INDEX_TABLE`.
    question : str
        What has to be asked; empty where nothing has.
    """

    lines: tuple[str, ...] = ()
    note: str = ""
    table: Table | None = None
    question: str = ""


def user_table(path: Path, shown: str, columns: Mapping[str, str]) -> Stars:
    """Return the stars of a table of the user's, with its columns recognised by their names.

    Raises
    ------
    LcfError
        Where the table can't be read, or a column that was named is not there.
    """
    from astropy.table import Table

    try:
        table = Table.read(path)
    except Exception as error:  # astropy raises what each format does
        raise LcfError(f"--stars {path}: it can't be read as a table ({type(error).__name__}: {error})") from None
    absent = [c for c in columns.values() if c not in table.colnames]
    if absent:
        raise LcfError(f"--columns: {path} has no column {absent[0]!r}; it has {', '.join(table.colnames)}")
    found = recognised(table) | dict(columns)
    lacking = [name for name in _NEEDED if name not in found]
    if lacking:
        wanted = ",".join(f"{name}=COLUMN" for name in lacking)
        question = f"--columns {wanted}: of {path.name}, which has {', '.join(table.colnames)}"
        return Stars(question=question)
    note = f"reference stars: {len(table)} of {path.name} (magnitudes: {found['magnitude']})"
    return Stars(_lines(shown, found), note)


def recognised(table: Table) -> dict[str, str]:
    """Return which column holds what, by the columns' names."""
    out: dict[str, str] = {}
    for quantity, patterns in _COLUMNS.items():
        for pattern in patterns:
            hits = [c for c in table.colnames if re.fullmatch(pattern, c, re.IGNORECASE)]
            usable = [c for c in hits if quantity == "source_id" or table[c].dtype.kind in "fiu"]
            if usable:
                out[quantity] = usable[0]
                break
    return out


def _lines(shown: str, columns: Mapping[str, str]) -> tuple[str, ...]:
    named = ", ".join(f'{k} = "{v}"' for k, v in columns.items() if _DEFAULT.get(k) != v)
    mapping = (f"columns = {{ {named} }}",) if named else ()
    return ("[stars]", 'plugin = "file"', "[stars.file]", f'path = "{shown}"', *mapping)


def stars_by_what_is_there(place: tuple[float, float], radius: float, offline: bool) -> Stars:
    """Return the Gaia archive where it answers, else the stars of index files, else the question for a table.

    Parameters
    ----------
    place : tuple of float
        (ra, dec), degrees.
    radius : float
        That the frames cover around it, degrees.
    offline : bool
        Whether the network must not be used.
    """
    if not offline and reachable(GAIA):
        return Stars(note="reference stars: the Gaia archive, which answers")
    why = "the network is not to be used" if offline else "the Gaia archive does not answer"
    found: Any = index_stars(*place, radius)
    if found is None or len(found[0]) == 0:
        return Stars(question=f"--stars TABLE: a table of stars with ra, dec and magnitude; {why}")
    table, magnitude = found
    note = f"reference stars: {len(table)} of Astrometry.net's index files ({magnitude}), because {why}"
    return Stars(_lines(INDEX_TABLE, {**_DEFAULT, "magnitude": magnitude}), note, table)
