"""The seams: the replaceable parts of the pipeline, each with its hook."""

from __future__ import annotations

from typing import Any

import attrs

from lcframework import hookspecs, protocols


@attrs.frozen
class Seam:
    """A seam: one replaceable part of the pipeline, with its section of the project file, its hook and its protocol.

    `of_region`: the plugin is selected in ``[roi.NAME]``, region by region, by the option of this name.
    """

    section: str
    hook: str
    protocol: type[Any] | None
    of_region: str = ""

    @property
    def selected(self) -> bool:
        """Whether the project file selects its plugin, whose instances are then sent to workers."""
        return bool(self.section or self.of_region)


SEAMS: tuple[Seam, ...] = (
    Seam("header", "lcf_header_parsers", protocols.HeaderParser),
    Seam("reduction", "lcf_reductions", protocols.Reduction),
    Seam("background", "lcf_background_estimators", protocols.BackgroundEstimator),
    Seam("sources", "lcf_source_extractors", protocols.SourceExtractor),
    Seam("plate_solving", "lcf_plate_solvers", protocols.PlateSolver),
    Seam("", "lcf_ephemerides", protocols.Ephemeris, of_region="ephemeris"),
    Seam("stars", "lcf_star_catalogs", protocols.StarCatalog),
    Seam("variables", "lcf_variable_catalogs", protocols.VariableCatalog),
    Seam("cosmics", "lcf_cosmic_maskers", protocols.CosmicMasker),
    Seam("psf", "lcf_psf_models", protocols.PsfModel),
    Seam("comparison_stars", "lcf_comparison_stars", protocols.ComparisonStars),
    Seam("photometry", "lcf_photometry", protocols.Photometry),
    Seam("normalization", "lcf_normalizations", protocols.Normalization),
    Seam("calibration", "lcf_calibration_surveys", protocols.CalibrationSurvey),
    Seam("roi_model", "lcf_roi_models", protocols.RoiModel),
    Seam("", "lcf_setting_rules", protocols.SettingRule),
    Seam("", "lcf_stages", None),
    Seam("", "lcf_exporters", protocols.Exporter),
    Seam("", "lcf_executors", None),
    Seam("", "lcf_report_panels", None),
)
SEAM_OF_SECTION = {s.section: s for s in SEAMS if s.section}
SEAM_OF_HOOK = {s.hook: s for s in SEAMS}
#: The names of all hooks.
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("lcf_"))
