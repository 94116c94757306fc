"""Names that the project file and the command line use, which plugins can't take."""

from __future__ import annotations

#: The documented stages, in their order.
STAGES = (
    "initialize_database",
    "read_convert_skysub_character_catalog",
    "plate_solving",
    "calculate_common_and_total_footprint",
    "query_gaia_for_stars",
    "stamp_extraction",
    "psf_modeling",
    "star_photometry",
    "calculate_normalization_coefficient",
    "calculate_absolute_zeropoints",
    "prepare_calibrated_cutouts",
    "model_calibrated_cutouts",
)  # fmt: skip

#: The tables at the top of a project file.
SECTION_NAMES = (
    "project", "frames", "header", "telescope", "roi", "reduction", "background", "sources", "plate_solving", "stars",
    "variables", "sequence", "stamps", "cosmics", "psf", "comparison_stars", "photometry", "normalization",
    "calibration", "roi_cutouts", "roi_model", "run", "plugins", "instrument",
)  # fmt: skip

#: What ``plugin = "..."`` may say beside names of plugins.
RESERVED = ("none", "auto")
