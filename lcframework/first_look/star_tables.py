"""The reference stars: the Gaia archive, a table of the user's, or the stars of Astrometry.net's index files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from lcframework.config.sections import Frames
from lcframework.first_look.index_stars import index_stars
from lcframework.first_look.plate_scale import Coverage, sources_of
from lcframework.first_look.targets import reachable
from lcframework.plugins import Plugins
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
#: The least number of stars for which a table is worth using.
_FEWEST = 30
#: The most sources of a frame that are taken for stars; their magnitudes are those of 25 for one count.
_MOST, _ZEROPOINT = 2000, 25.0


@attrs.frozen(eq=False)
class Stars:
    """Where the reference stars come from.

    Attributes
    ----------
    lines : tuple of str
        The tables of the project file.
    note : str
    table : astropy.table.Table, optional
        To be written beside the project file,
    name : str
        under this name.
    question : str
        What has to be asked; empty where nothing has.
    """

    lines: tuple[str, ...] = ()
    note: str = ""
    table: Table | None = None
    name: str = ""
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
    magnitudes = [c for c in table.colnames if "mag" in c.lower() and "err" not in c.lower()]
    if "magnitude" not in out and len(magnitudes) == 1:
        out["magnitude"] = magnitudes[0]
    return out


def quoted(text: str) -> str:
    """Return a text as TOML has it; JSON's strings are a part of TOML's."""
    return json.dumps(text, ensure_ascii=False)


def _lines(shown: str, columns: Mapping[str, str]) -> tuple[str, ...]:
    named = ", ".join(f"{k} = {quoted(v)}" for k, v in columns.items() if _DEFAULT.get(k) != v)
    mapping = (f"columns = {{ {named} }}",) if named else ()
    return ("[stars]", 'plugin = "file"', "[stars.file]", f"path = {quoted(shown)}", *mapping)


def stars_by_what_is_there(
    place: tuple[float, float], off: float, covered: Coverage, plugins: Plugins, settings: Frames, offline: bool
) -> Stars:
    """Return the Gaia archive where it answers, else the stars of index files, else those that a frame shows.

    Parameters
    ----------
    place : tuple of float
        (ra, dec) of the target, degrees.
    off : float
        How far from it the centre of a frame is at most, degrees.
    covered : Coverage
        What the frames cover.
    plugins, settings
        By which a frame's sources are found.
    offline : bool
        Whether the network must not be used.
    """
    if not offline and reachable(GAIA):
        return Stars(note="reference stars: the Gaia archive, which answers")
    why = "the network is not to be used" if offline else "the Gaia archive does not answer"
    radius = 1.2 * (off + covered.radius)
    found: Any = index_stars(*place, radius)
    if found is not None:
        table, magnitude = found
        share = min(1.0, (covered.radius / radius) ** 2)  # of the stars that one frame shows
        if share * len(table) >= _FEWEST:
            note = f"reference stars: {len(table)} of Astrometry.net's index files ({magnitude}), because {why}"
            return Stars(_lines("index_stars.ecsv", {**_DEFAULT, "magnitude": magnitude}), note, table,
                         "index_stars.ecsv")  # fmt: skip
    table = _stars_of(covered, plugins, settings)
    if len(table) < _FEWEST:
        return Stars(question=f"--stars TABLE: a table of stars with ra, dec and magnitude; {why}")
    name = "frame_stars.ecsv"
    frame = covered.example[0].path.name if covered.example else ""
    note = (
        f"reference stars: the {len(table)} sources of {frame}, with instrumental magnitudes, because {why} and index "
        "files hold too few; --stars TABLE is better, for plate solutions are compared with them too"
    )
    return Stars(_lines(name, {**_DEFAULT, "magnitude": "instrumental_mag"}), note, table, name)


def _stars_of(covered: Coverage, plugins: Plugins, settings: Frames) -> Table:
    """Return the sources of a frame in the middle as stars, brightest first."""
    import warnings

    import numpy as np
    from astropy.table import Table
    from astropy.utils.exceptions import AstropyWarning
    from astropy.wcs import WCS

    if covered.example is None:
        return Table()
    reading, wcs = covered.example
    sources = sources_of(reading, plugins, settings)
    flux = np.asarray(sources["flux"], float)
    sources = sources[(flux > 0) & np.isfinite(flux)]
    sources = sources[np.argsort(-np.asarray(sources["flux"], float))[:_MOST]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        ra, dec = WCS(wcs.header).all_pix2world(np.asarray(sources["x"], float), np.asarray(sources["y"], float), 0)
    table = Table()
    table["source_id"] = [f"F{i:04d}" for i in range(len(sources))]
    table["ra"], table["dec"] = np.round(ra % 360.0, 6), np.round(dec, 6)
    table["instrumental_mag"] = np.round(_ZEROPOINT - 2.5 * np.log10(np.asarray(sources["flux"], float)), 3)
    return table
