"""Tests for authors of plugins, and a simulated campaign with known truth.

Names are imported at their first use, so that ``import lcframework.testing`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_CAMPAIGN = (
    "CampaignSettings",
    "CampaignTruth",
    "cramer_rao_scatter",
    "evaluate_light_curves",
    "extend_campaign",
    "read_truth",
    "simulate_campaign",
)
_CONFORMANCE = (
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
)
_HOME = {name: "lcframework.testing.campaign" for name in _CAMPAIGN} | {
    name: "lcframework.testing.conformance" for name in _CONFORMANCE
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
