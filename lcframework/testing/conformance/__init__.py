"""One check for each seam, for authors of plugins: ``check_calibration_survey(SkyMapper())``.

Each check takes an instance of a plugin, or its class where a run makes the instance (stages, executors, panels), and
calls it with small simulated inputs with known truth. It raises an
AssertionError, which names the plugin and what to do, where the plugin breaks the contract of its hook or where its
result is wrong by more than the noise allows.
"""

from __future__ import annotations

from lcframework.testing.conformance.catalogs import (
    check_calibration_survey,
    check_plate_solver,
    check_star_catalog,
    check_variable_catalog,
)
from lcframework.testing.conformance.contract import check_plugin_class
from lcframework.testing.conformance.curves import check_exporter, check_normalization, check_roi_model
from lcframework.testing.conformance.ephemerides import check_ephemeris
from lcframework.testing.conformance.executors import check_executor
from lcframework.testing.conformance.imports import (
    check_background_estimator,
    check_cosmic_masker,
    check_header_parser,
    check_source_extractor,
)
from lcframework.testing.conformance.reductions import check_reduction
from lcframework.testing.conformance.settings import check_setting_rule, example_evidence
from lcframework.testing.conformance.stages import check_stage
from lcframework.testing.conformance.stars import check_comparison_stars, check_photometry, check_psf_model
from lcframework.testing.conformance.surroundings import check_command, check_listener, check_report_panel
from lcframework.testing.finished_project import example_project

__all__ = [
    "check_background_estimator",
    "check_calibration_survey",
    "check_command",
    "check_comparison_stars",
    "check_cosmic_masker",
    "check_ephemeris",
    "check_executor",
    "check_exporter",
    "check_header_parser",
    "check_listener",
    "check_normalization",
    "check_photometry",
    "check_plate_solver",
    "check_plugin_class",
    "check_psf_model",
    "check_reduction",
    "check_report_panel",
    "check_roi_model",
    "check_setting_rule",
    "check_source_extractor",
    "check_stage",
    "check_star_catalog",
    "check_variable_catalog",
    "example_evidence",
    "example_project",
]
