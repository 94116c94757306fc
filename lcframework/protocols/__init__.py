"""The protocols of plugins' classes: required methods, and optional abilities.

First comes one protocol for each seam, in the order of the pipeline. Classes need not inherit from it.
:mod:`lcframework.plugins` checks method names and parameters when a plugin is loaded; mypy checks the types.

Then come optional abilities. Each is a protocol that ``isinstance`` recognises by the name of an attribute or method. A
class without the attribute does not have the ability; the value of the attribute gives the details.

Import from this package, not from its modules.
"""

from __future__ import annotations

from lcframework.protocols.abilities import (
    AppliesDiscs,
    ChecksFiles,
    CombinesEstimates,
    DoubtsReduction,
    FitsInBatches,
    HasOperational,
    HasSuffix,
    HasTimeReference,
    HasVersion,
    KeepsCache,
    MeasuresApertures,
    MeasuresInDiscs,
    MeasuresMovingTargets,
    NamesReference,
    NeedsPosition,
    NeedsReference,
    NeedsStars,
    RunsFiles,
    SplitsFiles,
    StatesPositionErrors,
    UsesNetwork,
    WarmsUp,
)
from lcframework.protocols.of_seams import (
    BackgroundEstimator,
    CalibrationSurvey,
    ComparisonStars,
    CosmicMasker,
    Ephemeris,
    Exporter,
    HeaderParser,
    Normalization,
    Photometry,
    PlateSolver,
    PsfModel,
    Reduction,
    RoiModel,
    SettingRule,
    SourceExtractor,
    StarCatalog,
    VariableCatalog,
)

#: In the order of docs/hooks.md.
__all__ = [  # noqa: RUF022
    "HeaderParser",
    "Reduction",
    "BackgroundEstimator",
    "SourceExtractor",
    "PlateSolver",
    "Ephemeris",
    "StarCatalog",
    "VariableCatalog",
    "CosmicMasker",
    "PsfModel",
    "ComparisonStars",
    "Photometry",
    "Normalization",
    "CalibrationSurvey",
    "RoiModel",
    "SettingRule",
    "Exporter",
    "HasVersion",
    "HasOperational",
    "RunsFiles",
    "DoubtsReduction",
    "UsesNetwork",
    "KeepsCache",
    "HasTimeReference",
    "StatesPositionErrors",
    "NeedsPosition",
    "NeedsStars",
    "NeedsReference",
    "NamesReference",
    "FitsInBatches",
    "WarmsUp",
    "MeasuresApertures",
    "CombinesEstimates",
    "MeasuresInDiscs",
    "AppliesDiscs",
    "MeasuresMovingTargets",
    "HasSuffix",
    "SplitsFiles",
    "ChecksFiles",
]
