"""Conversions of values of lightcurver's configuration to options; :mod:`.keys` assigns one to each key.

A conversion sets options of the draft, and adds notes on what has no equivalent or has another meaning.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from lcframework.from_lightcurver.draft import Draft
from lcframework.from_lightcurver.values import names, number, pair, text, whole
from lcframework.storage.queries import numeric_columns
from lcframework.types import UnusableInput

Write = Callable[[Draft, Any], None]

_VIZIER = "https://tapvizier.cds.unistra.fr/TAPVizieR/tap"
_GAIA_BANDS = ("r_sdss", "i_sdss", "g_sdss", "V", "R", "Ic", "B_T", "V_T")


@attrs.frozen
class Key:
    """The conversion of a key, and the options that it may set (``table.option``; ROI names are ``NAME``)."""

    write: Write
    targets: tuple[str, ...] = ()


def to(target: str, kind: Callable[[Any], Any], null: Any = None) -> Key:
    """Return the conversion of a key to one option; a null value becomes `null`, or else the option's default."""
    table, _, name = target.rpartition(".")

    def write(draft: Draft, value: Any) -> None:
        if value is not None:
            draft.set(table, name, kind(value))
        elif null is not None:
            draft.set(table, name, null)

    return Key(write, (target,))


def none(why: str, harmless: tuple[Any, ...] = (None, False)) -> Key:
    """Return the conversion of a key without equivalent; no note is needed for its `harmless` values."""

    def write(draft: Draft, value: Any) -> None:
        if value not in harmless:
            draft.note(why)

    return Key(write)


# ---------------------------------------------------------------- keys with conversions of their own


def workdir(draft: Draft, value: Any) -> None:
    """Set a new folder for products; the header parser in the old workdir remains in use."""
    old = Path(text(value)).expanduser()
    taken = (draft.directory / "database.sqlite3").exists()
    draft.set("project", "workdir", "products" if taken else ".")
    draft.note(f"products go to {'the folder products' if taken else 'the folder of this file'}, not to {old}: its "
               "database and files are lightcurver's and can't be continued")  # fmt: skip
    parser = old / "header_parser" / "parse_header.py"
    if parser.exists():
        draft.set("header", "plugin", "file")
        draft.set("header.file", "path", str(parser))
        draft.note("the header parser's mjd is taken as the start of the exposure; add time_reference to what it "
                   "returns if it is another moment")  # fmt: skip


def raw_dirs(draft: Draft, value: Any) -> None:
    """Write the folders as absolute paths."""
    folders = [value] if isinstance(value, str) else list(value)
    draft.set("frames", "raw_dirs", [_absolute(draft, str(f)) for f in folders])


def _absolute(draft: Draft, folder: str) -> str:
    """Return an absolute path; relative ones were relative to the folder in which lightcurver was called."""
    path = Path(folder).expanduser()
    if path.is_absolute() or "$" in folder:
        return folder
    beside = draft.source.parent / path
    return str(beside if beside.exists() else Path.cwd() / path)


def trimming(side: str) -> Key:
    """Return the conversion of a number of trimmed rows or columns."""
    return to(f"frames.trim_{side}", whole)


def regions(draft: Draft, value: Any) -> None:
    """Write a table for each region; the first one names the project."""
    size = draft.raw.get("ROI_size")
    for i, (name, region) in enumerate(value.items()):
        table = f"roi.{roi_name(name)}"
        ra, dec = region["coordinates"]
        draft.set(table, "ra", number(ra))
        draft.set(table, "dec", number(dec))
        if i == 0:
            draft.set("project", "name", str(name))
        elif i == 1:
            draft.note("lightcurver measured the first region alone; here all are")
        if size is not None:
            draft.set(table, "exclusion_radius", number(size))
            draft.above[table, "exclusion_radius"] += draft.comments.pop("ROI_size", [])


def roi_name(name: Any) -> str:
    """Return a region's name that is valid in file names and TOML tables."""
    return re.sub(r"[^\w+-]", "_", str(name))


def point_sources(draft: Draft, value: Any) -> None:
    """Write the sources of the first region, with names that are valid in column names."""
    table = f"roi.{roi_name(next(iter(draft.raw['ROI'])))}.point_sources"
    for name, (ra, dec) in (value or {}).items():
        label = str(name) if str(name).isidentifier() else f"s{re.sub(r'[^A-Za-z0-9_]', '_', str(name))}"
        if label != str(name):
            draft.note(f"the source {name} is called {label}: names become names of columns")
        draft.set(table, label, [number(ra), number(dec)])


def telescope(draft: Draft, value: Any) -> None:
    """Write the telescope's position, where it is complete."""
    if not value:
        return
    ours = {"imager_name": "imager"}
    if value.get("latitude") is None or value.get("longitude") is None:
        draft.note("left out: latitude and longitude are needed")
        return
    for key, given in value.items():
        name = ours.get(key, key)
        if name in ("name", "imager", "latitude", "longitude", "elevation"):
            if given is not None:
                draft.set("telescope", name, str(given) if name in ("name", "imager") else number(given))
        else:
            draft.note(f"{key} has no equivalent")


def already_solved(draft: Draft, value: Any) -> None:
    """Use the WCS in the headers of frames."""
    if value:
        draft.set("plate_solving", "plugin", "existing")


def solving_strategy(draft: Draft, value: Any) -> None:
    """Choose the plate solver for a strategy, unless frames already have a WCS."""
    web = bool(draft.raw.get("astrometry_net_api_key"))
    solvers = {
        "plate_solve": "nova" if web else "astrometry-net",
        "alternate_gaia_solve": "catalog",
        "adapt_wcs_from_reference": ["nova" if web else "astrometry-net", "reference-frame"],
    }
    if value not in solvers:
        raise UnusableInput(f"known are {', '.join(solvers)}")
    if not draft.raw.get("already_plate_solved"):
        draft.set("plate_solving", "plugin", solvers[value])


def reference_frame(draft: Draft, value: Any) -> None:
    """Note that an id of lightcurver's database has no meaning here."""
    if value is not None:
        draft.note(f"the frame with id {value} in lightcurver's database: give its file name as frame in "
                   "[plate_solving.reference-frame]; without, the best solved frame serves")  # fmt: skip


def api_key(draft: Draft, value: Any) -> None:
    """Note that the API key must be in an environment variable."""
    if value:
        draft.note("a key does not belong into a file: put it into the environment variable ASTROMETRY_NET_API_KEY")


def which_frames(draft: Draft, value: Any) -> None:
    """Set whether failed frames are tried again; pending frames are always solved."""
    draft.set("plate_solving", "retry_failed", value == "all_not_plate_solved")
    if value == "all_not_eliminated":
        draft.note("frames that are solved are not solved again; `lcf run --force plate_solving` does it once")


def strategy(draft: Draft, value: Any) -> None:
    """Choose the strategy for reference stars."""
    known = {"ROI_disk": "roi_disk", "common_footprint_stars": "common_footprint"}
    if value not in known:
        raise UnusableInput(f"known are {', '.join(known)}")
    draft.set("stars", "strategy", known[value])


def magnitude(draft: Draft, value: Any) -> None:
    """Write both limits, whichever of their keys comes first."""
    draft.set("stars", "magnitude", pair([draft.raw.get("star_min_gmag"), draft.raw.get("star_max_gmag")]))


def catalogue_of(draft: Draft, value: Any) -> None:
    """Choose Gaia's archive with its mirror, or VizieR alone."""
    draft.set("stars", "plugin", "gaia")
    if value == "vizier":
        draft.set("stars.gaia", "url", _VIZIER)
        draft.set("stars.gaia", "table", "I/355/gaiadr3")
        draft.set("stars.gaia", "mirror", "")


def stars_of(section: str) -> Key:
    """Return the conversion of the stars that a section uses: a number, or letters."""

    def write(draft: Draft, value: Any) -> None:
        if value is None:
            return
        draft.set(section, "stars", value if isinstance(value, int) else names(value))
        if not isinstance(value, int):
            draft.note(
                "letters are given anew, nearest star first: compare with Project.stars() before relying on them"
            )

    return Key(write, (f"{section}.stars",))


def whether_cosmics(draft: Draft, value: Any) -> None:
    """Convert a switch to a plugin, or to "none"."""
    draft.set("cosmics", "plugin", "astroscrappy" if value else "none")


def cosmics_options(draft: Draft, value: Any) -> None:
    """Write the options that both programs have."""
    for name, given in (value or {}).items():
        if name in ("sigclip", "sigfrac", "objlim"):
            draft.set("cosmics.astroscrappy", name, number(given))
        else:
            draft.note(f"{name} has no equivalent")


def selection_of(target: str) -> Key:
    """Return the conversion of a selection by sigma clipping or by an interval."""
    table, _, name = target.rpartition(".")

    def write(draft: Draft, value: Any) -> None:
        if not value:
            draft.set(table, name, {})
        elif "sigma_clip" in value:
            draft.set(table, name, {"sigma_clip": number(value["sigma_clip"])})
        else:
            draft.set(table, name, {"between": pair(value["threshold"])})

    return Key(write, (target,))


def constraints_on(target: str, columns_of: str) -> Key:
    """Return the conversion of limits on columns of a table, for columns that exist here."""
    table, _, name = target.rpartition(".")

    def write(draft: Draft, value: Any) -> None:
        known = numeric_columns(columns_of)
        limits = {}
        for column, given in (value or {}).items():
            if column in known:
                limits[column] = pair(given)
            else:
                draft.note(f"{column}: {columns_of} has no such column; it has {', '.join(known)}")
        draft.set(table, name, limits)

    return Key(write, (target,))


def band(draft: Draft, value: Any) -> None:
    """Choose the survey and its band from the band's name."""
    if text(value) in _GAIA_BANDS:
        draft.set("calibration", "plugin", "gaia")
        draft.set("calibration", "band", value)
    elif value.endswith("_panstarrs"):
        draft.set("calibration", "plugin", "panstarrs")
        draft.set("calibration", "band", value.removesuffix("_panstarrs"))
    else:
        raise UnusableInput("no band of Gaia's or Pan-STARRS's")


def whether_to_model(draft: Draft, value: Any) -> None:
    """Convert a switch to a plugin, or to "none"."""
    draft.set("roi_model", "plugin", "starred" if value else "none")


def astrometry(draft: Draft, value: Any) -> None:
    """Set whether positions are fixed, free, or constrained by a Gaussian."""
    if value is not None:
        draft.set("roi_model.starred", "fix_astrometry", value if isinstance(value, bool) else number(value))


def starting_background(draft: Draft, value: Any) -> None:
    """Write the path of the file, which was relative to the workdir."""
    if value is not None:
        path = Path(text(value)).expanduser()
        full_path = path if path.is_absolute() else Path(str(draft.raw.get("workdir", "."))).expanduser() / path
        draft.set("roi_model.starred", "starting_background", os.path.normpath(full_path))


def optimize_background(draft: Draft, value: Any) -> None:
    """Switch the background off where there is no starting background and none is fitted."""
    if draft.raw.get("starting_background") is None and value is False:
        draft.set("roi_model.starred", "background", False)
    elif value is not None:
        draft.set("roi_model.starred", "optimize_background", bool(value))


STRENGTHS = {
    "regularization_strength_scales": "regularization_scales",
    "regularization_strength_hf": "regularization_high_frequency",
    "regularization_strength_positivity": "regularization_positivity",
    "regularization_strength_pts_source": "regularization_point_sources",
    "regularization_scatter_fluxes_pre_optim": "regularization_flux_scatter_first",
    "regularization_scatter_fluxes_main_optim": "regularization_flux_scatter",
}


def regularization(draft: Draft, value: Any) -> None:
    """Write the strengths of the regularization."""
    for name, given in (value or {}).items():
        if name in STRENGTHS:
            draft.set("roi_model.starred", STRENGTHS[name], number(given))
        else:
            draft.note(f"{name} has no equivalent")
