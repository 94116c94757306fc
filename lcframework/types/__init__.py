"""The values that pass through hooks: frozen attrs classes, table schemas, flags and exceptions.

Conventions that hold everywhere:

- Pixel coordinates are 0-based ``(x, y)``; the centre of an image's first pixel is ``(0, 0)``.
- Images are ``(ny, nx)`` arrays, in e-/s after the import; in a stack of images the first axis counts the images.
- A boolean mask is True where a pixel must **not** be used.
- Sky offsets ``(xi, eta)`` are on the tangent plane: arcsec towards east and north of a reference position.
- A kernel's centre is the geometric centre of its array, ``(m - 1) / 2`` on each axis.

Import what this package names from it, not from its modules. What its modules have beside that is the core's own and
may change: helpers in `arrays`, `robust`, `fits_sizes`, `json_values` and `secrets`.

`arrays`, `doubts`, `failures`, `flags`, `robust` and `tables` serve all steps of the pipeline. The others belong to one
step each, in the order of the pipeline: `frames`, `reduction`, `sky`, `wcs`, `ephemerides`, `fit_status`, `psf`,
`comparison`, `photometry`, `estimators`, `discs`, `normalization`, `regions`; then `light_curve` and `events`.
`decisions` are what frames say about settings, `sections` parts of an image in headers, `fits_sizes` what files state
of their length; `secrets` is what texts go through before they are shown, `json_values` what values go through before
they are recorded.
"""

from __future__ import annotations

from lcframework.types.arrays import Bools, Floats, Ints
from lcframework.types.comparison import CandidateStars
from lcframework.types.decisions import Decision, Evidence, FrameEvidence, MeasuredGain
from lcframework.types.discs import Discs
from lcframework.types.doubts import Doubt, Severity
from lcframework.types.ephemerides import Moments
from lcframework.types.estimators import Estimators, FluxWeights
from lcframework.types.events import RunEvent
from lcframework.types.failures import (
    STORAGE_FAILS,
    DamagedProduct,
    LcfError,
    NeedMissing,
    PluginError,
    UnusableInput,
)
from lcframework.types.fit_status import FitState, FitStatus
from lcframework.types.fits_sizes import check_fits_sizes, open_packed
from lcframework.types.flags import EpochFlag, FrameFlag, PixelFlag
from lcframework.types.frames import DataUnit, HeaderInfo, TimeReference
from lcframework.types.light_curve import (
    EPOCH_COLUMNS,
    NIGHT_COLUMNS,
    SOURCE_COLUMNS,
    SOURCE_NIGHT_COLUMNS,
    VISIT_COLUMNS,
    CurveColumn,
    FileFault,
    column_of,
    source_names,
    twice_named,
)
from lcframework.types.normalization import FluxMatrix, NormalizationSolution
from lcframework.types.photometry import Kernels, PhotometryResult, Stamps
from lcframework.types.psf import FWHM_PER_SIGMA, PSF, PsfBatch
from lcframework.types.reduction import Exposure, Master, MasterPlan
from lcframework.types.regions import Cutouts, HighResolution, PointSources, RoiFit
from lcframework.types.secrets import file_name, readable, redacted
from lcframework.types.sections import is_section, section_slices
from lcframework.types.sky import CatalogLimits, Region
from lcframework.types.tables import (
    MAGNITUDES,
    SOURCES,
    STARS,
    VARIABLES,
    Column,
    MagnitudeTable,
    SourceTable,
    StarTable,
    TableSchema,
    VariableTable,
)
from lcframework.types.wcs import NotSolved, PlateSolution, SolveHint

# In the order of the pipeline, in which the documentation shows them.
__all__ = [  # noqa: RUF022
    "Floats",
    "Bools",
    "Ints",
    "LcfError",
    "UnusableInput",
    "NeedMissing",
    "DamagedProduct",
    "PluginError",
    "STORAGE_FAILS",
    "Doubt",
    "Severity",
    "PixelFlag",
    "FrameFlag",
    "EpochFlag",
    "SourceTable",
    "StarTable",
    "MagnitudeTable",
    "VariableTable",
    "Column",
    "TableSchema",
    "SOURCES",
    "STARS",
    "MAGNITUDES",
    "VARIABLES",
    "TimeReference",
    "DataUnit",
    "HeaderInfo",
    "Exposure",
    "MasterPlan",
    "Master",
    "check_fits_sizes",
    "open_packed",
    "is_section",
    "file_name",
    "readable",
    "redacted",
    "section_slices",
    "Region",
    "CatalogLimits",
    "SolveHint",
    "PlateSolution",
    "NotSolved",
    "Moments",
    "FitState",
    "FitStatus",
    "PsfBatch",
    "FWHM_PER_SIGMA",
    "PSF",
    "Stamps",
    "CandidateStars",
    "Kernels",
    "FluxWeights",
    "Estimators",
    "Discs",
    "PhotometryResult",
    "FluxMatrix",
    "NormalizationSolution",
    "PointSources",
    "Cutouts",
    "HighResolution",
    "RoiFit",
    "CurveColumn",
    "FileFault",
    "EPOCH_COLUMNS",
    "SOURCE_COLUMNS",
    "NIGHT_COLUMNS",
    "SOURCE_NIGHT_COLUMNS",
    "VISIT_COLUMNS",
    "column_of",
    "source_names",
    "twice_named",
    "RunEvent",
    "Decision",
    "Evidence",
    "FrameEvidence",
    "MeasuredGain",
]
