"""The stages of a run, one module each; :data:`CHAIN` contains them in their order."""

from __future__ import annotations

from lcframework.stages.calculate_absolute_zeropoints import CalculateAbsoluteZeropoints
from lcframework.stages.calculate_common_and_total_footprint import CalculateCommonAndTotalFootprint
from lcframework.stages.calculate_normalization_coefficient import CalculateNormalizationCoefficient
from lcframework.stages.initialize_database import InitializeDatabase
from lcframework.stages.model_calibrated_cutouts import ModelCalibratedCutouts
from lcframework.stages.plate_solving import PlateSolving
from lcframework.stages.prepare_calibrated_cutouts import PrepareCalibratedCutouts
from lcframework.stages.psf_modeling import PsfModeling
from lcframework.stages.query_gaia_for_stars import QueryGaiaForStars
from lcframework.stages.read_convert_skysub_character_catalog import ReadConvertSkysubCharacterCatalog
from lcframework.stages.stamp_extraction import StampExtraction
from lcframework.stages.star_photometry import StarPhotometry
from lcframework.work import Stage

CHAIN: tuple[type[Stage], ...] = (
    InitializeDatabase,
    ReadConvertSkysubCharacterCatalog,
    PlateSolving,
    CalculateCommonAndTotalFootprint,
    QueryGaiaForStars,
    StampExtraction,
    PsfModeling,
    StarPhotometry,
    CalculateNormalizationCoefficient,
    CalculateAbsoluteZeropoints,
    PrepareCalibratedCutouts,
    ModelCalibratedCutouts,
)
