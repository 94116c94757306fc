"""Every key of lightcurver's configuration, with its conversion."""

from __future__ import annotations

import math
from typing import Any

from lcframework.from_lightcurver import conversions as c
from lcframework.from_lightcurver.conversions import Key, none, to
from lcframework.from_lightcurver.values import names, number, pair, text, whole

#: A key that has no meaning here.
IGNORED = Key(lambda draft, value: None)
_REDO = none("what is out of date is made again by itself; once by hand: `lcf run --force STAGE`")

KEYS: dict[str, Key] = {
    "workdir": Key(c.workdir, ("project.workdir", "header.plugin", "header.file.path")),
    "raw_dirs": Key(c.raw_dirs, ("frames.raw_dirs",)),
    "files_match_pattern": to("frames.pattern", text),
    "hdu_data_index": to("frames.hdu_data", whole),
    "hdu_header_indexes": to("frames.hdu_headers", lambda v: [whole(i) for i in (v if isinstance(v, list) else [v])]),
    "trim_vertical": c.trimming("vertical"),
    "trim_horizontal": c.trimming("horizontal"),
    "multiprocessing_cpu_count": to("run.workers", whole),
    "ROI": Key(c.regions, ("roi.NAME.ra", "roi.NAME.dec", "project.name")),
    "ROI_size": Key(lambda draft, value: None, ("roi.NAME.exclusion_radius",)),  # written with the regions
    "telescope": Key(
        c.telescope, tuple(f"telescope.{k}" for k in ("name", "imager", "latitude", "longitude", "elevation"))
    ),
    "do_background_subtraction": to("background.subtract", bool),
    "mask_sources_before_background": to("background.sep.mask_sources", bool),
    "background_estimation_n_boxes": to("background.sep.boxes", whole),
    "source_extraction_threshold": to("sources.sep.threshold", number),
    "source_extraction_min_area": to("sources.sep.min_area", whole),
    "source_extraction_do_plots": IGNORED,  # `lcf report` draws plots
    "plate_solve_frames": Key(c.which_frames, ("plate_solving.retry_failed",)),
    "already_plate_solved": Key(c.already_solved, ("plate_solving.plugin",)),
    "plate_solving_strategy": Key(c.solving_strategy, ("plate_solving.plugin",)),
    "reference_frame_for_wcs": Key(c.reference_frame),
    "plate_scale_interval": to("plate_solving.pixel_scale", pair),
    "alternate_plate_solve_gaia_radius": to("plate_solving.catalog.radius", number),
    "astrometry_net_api_key": Key(c.api_key, ("plate_solving.plugin",)),
    "max_pixel_anisotropy": to("plate_solving.max_anisotropy", number),
    "plate_solving_min_success_fraction": to("plate_solving.min_success_fraction", number),
    "star_selection_strategy": Key(c.strategy, ("stars.strategy",)),
    "ROI_disk_radius_arcseconds": to("stars.radius", number),
    "star_min_gmag": Key(c.magnitude, ("stars.magnitude",)),
    "star_max_gmag": Key(c.magnitude, ("stars.magnitude",)),
    "star_max_astrometric_excess_noise": to("stars.max_astrometric_excess_noise", number, math.inf),
    "min_phot_g_mean_flux_over_error": to("stars.min_flux_over_error", number, 0.0),
    "min_number_stars": to("stars.min_number", whole),
    "gaia_query_redo": none("answers are kept; `lcf run --force query_gaia_for_stars` chooses again"),
    "gaia_provider": Key(c.catalogue_of, ("stars.plugin", "stars.gaia.url", "stars.gaia.table", "stars.gaia.mirror")),
    "stars_to_use_psf": c.stars_of("psf"),
    "stars_to_exclude_psf": to("psf.exclude", names),
    "stars_to_use_norm": c.stars_of("photometry"),
    "stars_to_exclude_norm": to("photometry.exclude", names),
    "stamp_size_stars": to("stamps.star_size", whole),
    "stamp_size_ROI": to("stamps.roi_size", whole),
    "redo_stamp_extraction": _REDO,
    "mask_bad_rows_and_columns": to("stamps.mask_bad_lines", bool),
    "clean_cosmics": Key(c.whether_cosmics, ("cosmics.plugin",)),
    "cosmics_masking_params": Key(
        c.cosmics_options, tuple(f"cosmics.astroscrappy.{k}" for k in ("sigclip", "sigfrac", "objlim"))
    ),
    "redo_psf": _REDO,
    "subsampling_factor": to("psf.starred.subsampling_factor", whole),
    "field_distortion": to("psf.starred.field_distortion", bool),
    "psf_n_iter_analytic": to("psf.starred.iterations_analytic", whole),
    "psf_n_iter_pixels": to("psf.starred.iterations_pixels", whole),
    "psf_fit_exclude_strategy": c.selection_of("photometry.psf_chi2"),
    "redo_star_photometry": _REDO,
    "star_deconv_n_iter": IGNORED,  # the fit is solved to convergence
    "star_photometry_uniform_background_per_epoch": to("photometry.starred.background_per_epoch", bool),
    "star_photometry_starlet_global_background": to("photometry.starred.starlet_background", bool),
    "fluxes_fit_exclude_strategy": c.selection_of("normalization.flux_chi2"),
    "constraints_on_frame_columns_for_roi": c.constraints_on("roi_cutouts.frames", "frames"),
    "constraints_on_normalization_coeff": c.constraints_on("roi_cutouts.normalization", "normalization_coefficients"),
    "prepared_roi_cutouts_path": none("cut-outs are always in the workdir's prepared_roi_cutouts/"),
    "photometric_band": Key(c.band, ("calibration.plugin", "calibration.band")),
    "do_ROI_model": Key(c.whether_to_model, ("roi_model.plugin",)),
    "point_sources": Key(c.point_sources, ("roi.NAME.point_sources.A",)),
    "fix_point_source_astrometry": Key(c.astrometry, ("roi_model.starred.fix_astrometry",)),
    "starting_background": Key(c.starting_background, ("roi_model.starred.starting_background",)),
    "further_optimize_background": Key(
        c.optimize_background, ("roi_model.starred.optimize_background", "roi_model.starred.background")
    ),
    "roi_model_regularization": Key(c.regularization, tuple(f"roi_model.starred.{s}" for s in c.STRENGTHS.values())),
    "roi_deconv_translations_iters": to("roi_model.starred.iterations_translations", whole),
    "roi_deconv_all_iters": to("roi_model.starred.iterations_all", whole),
}

#: lightcurver's defaults of keys, where they differ from the defaults here.
IF_ABSENT: dict[str, Any] = {
    "files_match_pattern": "*",
    "source_extraction_threshold": 3,
    "source_extraction_min_area": 10,
    "constraints_on_frame_columns_for_roi": None,
    "constraints_on_normalization_coeff": None,
}
