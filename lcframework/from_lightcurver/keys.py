"""Every key of lightcurver's configuration, and what it becomes."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from lcframework import database
from lcframework.from_lightcurver.draft import Draft
from lcframework.from_lightcurver.values import names, number, pair, text, whole
from lcframework.types import UnusableInput

Write = Callable[[Draft, Any], None]

_VIZIER = "https://tapvizier.cds.unistra.fr/TAPVizieR/tap"
_GAIA_BANDS = ("r_sdss", "i_sdss", "g_sdss", "V", "R", "Ic", "B_T", "V_T")


@attrs.frozen
class Key:
    """How a key is converted, and the settings that it may become (``table.key``; ROI names are ``NAME``)."""

    write: Write
    targets: tuple[str, ...] = ()


def to(target: str, kind: Callable[[Any], Any], null: Any = None) -> Key:
    """Return the conversion of a key that becomes one setting; where it is null, `null` or else our default."""
    table, _, name = target.rpartition(".")

    def write(draft: Draft, value: Any) -> None:
        if value is not None:
            draft.set(table, name, kind(value))
        elif null is not None:
            draft.set(table, name, null)

    return Key(write, (target,))


def none(why: str, harmless: tuple[Any, ...] = (None, False)) -> Key:
    """Return the conversion of a key without equivalent; its `harmless` values need no word."""

    def write(draft: Draft, value: Any) -> None:
        if value not in harmless:
            draft.note(why)

    return Key(write)


# ---------------------------------------------------------------- keys that need more


def _workdir(draft: Draft, value: Any) -> None:
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


def _raw_dirs(draft: Draft, value: Any) -> None:
    folders = [value] if isinstance(value, str) else list(value)
    draft.set("frames", "raw_dirs", [_absolute(draft, str(f)) for f in folders])


def _absolute(draft: Draft, folder: str) -> str:
    """Return a path that holds from anywhere: relative ones were relative to where lightcurver was called."""
    path = Path(folder).expanduser()
    if path.is_absolute() or "$" in folder:
        return folder
    beside = draft.source.parent / path
    return str(beside if beside.exists() else Path.cwd() / path)


def _trim(side: str) -> Key:
    return to(f"frames.trim_{side}", whole)


def _regions(draft: Draft, value: Any) -> None:
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
    """Return a region's name as file names and TOML tables take it."""
    return re.sub(r"[^\w+-]", "_", str(name))


def _point_sources(draft: Draft, value: Any) -> None:
    table = f"roi.{roi_name(next(iter(draft.raw['ROI'])))}.point_sources"
    for name, (ra, dec) in (value or {}).items():
        label = str(name) if str(name).isidentifier() else f"s{re.sub(r'[^A-Za-z0-9_]', '_', str(name))}"
        if label != str(name):
            draft.note(f"the source {name} is called {label}: names become names of columns")
        draft.set(table, label, [number(ra), number(dec)])


def _telescope(draft: Draft, value: Any) -> None:
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


def _solved(draft: Draft, value: Any) -> None:
    if value:
        draft.set("plate_solving", "plugin", "existing")


def _solver(draft: Draft, value: Any) -> None:
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


def _reference_frame(draft: Draft, value: Any) -> None:
    if value is not None:
        draft.note(f"the frame with id {value} in lightcurver's database: give its file name as frame in "
                   "[plate_solving.reference-frame]; without, the best solved frame serves")  # fmt: skip


def _api_key(draft: Draft, value: Any) -> None:
    if value:
        draft.note("a key does not belong into a file: put it into the environment variable ASTROMETRY_NET_API_KEY")


def _which_frames(draft: Draft, value: Any) -> None:
    draft.set("plate_solving", "retry_failed", value == "all_not_plate_solved")
    if value == "all_not_eliminated":
        draft.note("frames that are solved are not solved again; `lcf run --force plate_solving` does it once")


def _strategy(draft: Draft, value: Any) -> None:
    known = {"ROI_disk": "roi_disk", "common_footprint_stars": "common_footprint"}
    if value not in known:
        raise UnusableInput(f"known are {', '.join(known)}")
    draft.set("stars", "strategy", known[value])


def _magnitude(draft: Draft, value: Any) -> None:
    draft.set("stars", "magnitude", pair([draft.raw.get("star_min_gmag"), draft.raw.get("star_max_gmag")]))


def _provider(draft: Draft, value: Any) -> None:
    draft.set("stars", "plugin", "gaia")
    if value == "vizier":
        draft.set("stars.gaia", "url", _VIZIER)
        draft.set("stars.gaia", "table", "I/355/gaiadr3")
        draft.set("stars.gaia", "mirror", "")


def _stars(section: str) -> Key:
    def write(draft: Draft, value: Any) -> None:
        if value is None:
            return
        draft.set(section, "stars", value if isinstance(value, int) else names(value))
        if not isinstance(value, int):
            draft.note(
                "letters are given anew, nearest star first: compare with Project.stars() before relying on them"
            )

    return Key(write, (f"{section}.stars",))


def _cosmics(draft: Draft, value: Any) -> None:
    draft.set("cosmics", "plugin", "astroscrappy" if value else "none")


def _cosmics_options(draft: Draft, value: Any) -> None:
    for name, given in (value or {}).items():
        if name in ("sigclip", "sigfrac", "objlim"):
            draft.set("cosmics.astroscrappy", name, number(given))
        else:
            draft.note(f"{name} has no equivalent")


def _selection(target: str) -> Key:
    table, _, name = target.rpartition(".")

    def write(draft: Draft, value: Any) -> None:
        if not value:
            draft.set(table, name, {})
        elif "sigma_clip" in value:
            draft.set(table, name, {"sigma_clip": number(value["sigma_clip"])})
        else:
            draft.set(table, name, {"between": pair(value["threshold"])})

    return Key(write, (target,))


def _constraints(target: str, columns_of: str) -> Key:
    table, _, name = target.rpartition(".")

    def write(draft: Draft, value: Any) -> None:
        known = database.numeric_columns(columns_of)
        limits = {}
        for column, given in (value or {}).items():
            if column in known:
                limits[column] = pair(given)
            else:
                draft.note(f"{column}: {columns_of} has no such column; it has {', '.join(known)}")
        draft.set(table, name, limits)

    return Key(write, (target,))


def _band(draft: Draft, value: Any) -> None:
    if text(value) in _GAIA_BANDS:
        draft.set("calibration", "plugin", "gaia")
        draft.set("calibration", "band", value)
    elif value.endswith("_panstarrs"):
        draft.set("calibration", "plugin", "panstarrs")
        draft.set("calibration", "band", value.removesuffix("_panstarrs"))
    else:
        raise UnusableInput("no band of Gaia's or Pan-STARRS's")


def _model(draft: Draft, value: Any) -> None:
    draft.set("roi_model", "plugin", "starred" if value else "none")


def _astrometry(draft: Draft, value: Any) -> None:
    if value is not None:
        draft.set("roi_model.starred", "fix_astrometry", value if isinstance(value, bool) else number(value))


def _starting_background(draft: Draft, value: Any) -> None:
    if value is not None:
        path = Path(text(value)).expanduser()
        place = path if path.is_absolute() else Path(str(draft.raw.get("workdir", "."))).expanduser() / path
        draft.set("roi_model.starred", "starting_background", os.path.normpath(place))


def _optimize_background(draft: Draft, value: Any) -> None:
    if draft.raw.get("starting_background") is None and value is False:
        draft.set("roi_model.starred", "background", False)
    elif value is not None:
        draft.set("roi_model.starred", "optimize_background", bool(value))


_STRENGTHS = {
    "regularization_strength_scales": "regularization_scales",
    "regularization_strength_hf": "regularization_high_frequency",
    "regularization_strength_positivity": "regularization_positivity",
    "regularization_strength_pts_source": "regularization_point_sources",
    "regularization_scatter_fluxes_pre_optim": "regularization_flux_scatter_first",
    "regularization_scatter_fluxes_main_optim": "regularization_flux_scatter",
}


def _regularization(draft: Draft, value: Any) -> None:
    for name, given in (value or {}).items():
        if name in _STRENGTHS:
            draft.set("roi_model.starred", _STRENGTHS[name], number(given))
        else:
            draft.note(f"{name} has no equivalent")


#: A key that has nothing to say here.
IGNORED = Key(lambda draft, value: None)
_REDO = none("what is out of date is made again by itself; once by hand: `lcf run --force STAGE`")

KEYS: dict[str, Key] = {
    "workdir": Key(_workdir, ("project.workdir", "header.plugin", "header.file.path")),
    "raw_dirs": Key(_raw_dirs, ("frames.raw_dirs",)),
    "files_match_pattern": to("frames.pattern", text),
    "hdu_data_index": to("frames.hdu_data", whole),
    "hdu_header_indexes": to("frames.hdu_headers", lambda v: [whole(i) for i in (v if isinstance(v, list) else [v])]),
    "trim_vertical": _trim("vertical"),
    "trim_horizontal": _trim("horizontal"),
    "multiprocessing_cpu_count": to("run.workers", whole),
    "ROI": Key(_regions, ("roi.NAME.ra", "roi.NAME.dec", "project.name")),
    "ROI_size": Key(lambda draft, value: None, ("roi.NAME.exclusion_radius",)),  # written with the regions
    "telescope": Key(
        _telescope, tuple(f"telescope.{k}" for k in ("name", "imager", "latitude", "longitude", "elevation"))
    ),
    "do_background_subtraction": to("background.subtract", bool),
    "mask_sources_before_background": to("background.sep.mask_sources", bool),
    "background_estimation_n_boxes": to("background.sep.boxes", whole),
    "source_extraction_threshold": to("sources.sep.threshold", number),
    "source_extraction_min_area": to("sources.sep.min_area", whole),
    "source_extraction_do_plots": IGNORED,  # `lcf report` draws plots
    "plate_solve_frames": Key(_which_frames, ("plate_solving.retry_failed",)),
    "already_plate_solved": Key(_solved, ("plate_solving.plugin",)),
    "plate_solving_strategy": Key(_solver, ("plate_solving.plugin",)),
    "reference_frame_for_wcs": Key(_reference_frame),
    "plate_scale_interval": to("plate_solving.pixel_scale", pair),
    "alternate_plate_solve_gaia_radius": to("plate_solving.catalog.radius", number),
    "astrometry_net_api_key": Key(_api_key, ("plate_solving.plugin",)),
    "max_pixel_anisotropy": to("plate_solving.max_anisotropy", number),
    "plate_solving_min_success_fraction": to("plate_solving.min_success_fraction", number),
    "star_selection_strategy": Key(_strategy, ("stars.strategy",)),
    "ROI_disk_radius_arcseconds": to("stars.radius", number),
    "star_min_gmag": Key(_magnitude, ("stars.magnitude",)),
    "star_max_gmag": Key(_magnitude, ("stars.magnitude",)),
    "star_max_astrometric_excess_noise": to("stars.max_astrometric_excess_noise", number, math.inf),
    "min_phot_g_mean_flux_over_error": to("stars.min_flux_over_error", number, 0.0),
    "min_number_stars": to("stars.min_number", whole),
    "gaia_query_redo": none("answers are kept; `lcf run --force query_gaia_for_stars` chooses again"),
    "gaia_provider": Key(_provider, ("stars.plugin", "stars.gaia.url", "stars.gaia.table", "stars.gaia.mirror")),
    "stars_to_use_psf": _stars("psf"),
    "stars_to_exclude_psf": to("psf.exclude", names),
    "stars_to_use_norm": _stars("photometry"),
    "stars_to_exclude_norm": to("photometry.exclude", names),
    "stamp_size_stars": to("stamps.star_size", whole),
    "stamp_size_ROI": to("stamps.roi_size", whole),
    "redo_stamp_extraction": _REDO,
    "mask_bad_rows_and_columns": to("stamps.mask_bad_lines", bool),
    "clean_cosmics": Key(_cosmics, ("cosmics.plugin",)),
    "cosmics_masking_params": Key(
        _cosmics_options, tuple(f"cosmics.astroscrappy.{k}" for k in ("sigclip", "sigfrac", "objlim"))
    ),
    "redo_psf": _REDO,
    "subsampling_factor": to("psf.starred.subsampling_factor", whole),
    "field_distortion": to("psf.starred.field_distortion", bool),
    "psf_n_iter_analytic": to("psf.starred.iterations_analytic", whole),
    "psf_n_iter_pixels": to("psf.starred.iterations_pixels", whole),
    "psf_fit_exclude_strategy": _selection("photometry.psf_chi2"),
    "redo_star_photometry": _REDO,
    "star_deconv_n_iter": IGNORED,  # the fit is solved to convergence
    "star_photometry_uniform_background_per_epoch": to("photometry.starred.background_per_epoch", bool),
    "star_photometry_starlet_global_background": to("photometry.starred.starlet_background", bool),
    "fluxes_fit_exclude_strategy": _selection("normalization.flux_chi2"),
    "constraints_on_frame_columns_for_roi": _constraints("roi_cutouts.frames", "frames"),
    "constraints_on_normalization_coeff": _constraints("roi_cutouts.normalization", "normalization_coefficients"),
    "prepared_roi_cutouts_path": none("cut-outs are always in the workdir's prepared_roi_cutouts/"),
    "photometric_band": Key(_band, ("calibration.plugin", "calibration.band")),
    "do_ROI_model": Key(_model, ("roi_model.plugin",)),
    "point_sources": Key(_point_sources, ("roi.NAME.point_sources.A",)),
    "fix_point_source_astrometry": Key(_astrometry, ("roi_model.starred.fix_astrometry",)),
    "starting_background": Key(_starting_background, ("roi_model.starred.starting_background",)),
    "further_optimize_background": Key(
        _optimize_background, ("roi_model.starred.optimize_background", "roi_model.starred.background")
    ),
    "roi_model_regularization": Key(_regularization, tuple(f"roi_model.starred.{s}" for s in _STRENGTHS.values())),
    "roi_deconv_translations_iters": to("roi_model.starred.iterations_translations", whole),
    "roi_deconv_all_iters": to("roi_model.starred.iterations_all", whole),
}

#: What lightcurver does where a key is absent, where that is not our default.
IF_ABSENT: dict[str, Any] = {
    "files_match_pattern": "*",
    "source_extraction_threshold": 3,
    "source_extraction_min_area": 10,
    "constraints_on_frame_columns_for_roi": None,
    "constraints_on_normalization_coeff": None,
}
