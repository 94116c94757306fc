"""What the classes of plugins must have: one protocol for each seam, in the order of the pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from lcframework.types import (
    PSF,
    Bools,
    CandidateStars,
    CatalogLimits,
    Cutouts,
    Decision,
    Evidence,
    Exposure,
    Floats,
    FluxMatrix,
    HeaderInfo,
    Ints,
    Kernels,
    MagnitudeTable,
    Master,
    MasterPlan,
    Moments,
    NormalizationSolution,
    NotSolved,
    PhotometryResult,
    PlateSolution,
    PointSources,
    PsfBatch,
    Region,
    RoiFit,
    SolveHint,
    SourceTable,
    Stamps,
    StarTable,
    VariableTable,
)

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.table import Table


class HeaderParser(Protocol):
    """Reads the headers of one telescope."""

    def parse(self, header: fits.Header, path: Path) -> HeaderInfo | Mapping[str, Any] | None:
        """Return the values of the merged header, or None where the header is not of this parser's telescope."""


class Reduction(Protocol):
    """Calibrates raw images with calibration frames, such as bias, dark and flat frames."""

    def describe(self, header: fits.Header, path: Path, shape: tuple[int, int]) -> Exposure:
        """Return the kind of a raw file and how it was taken, from its header; `shape` is (ny, nx)."""

    def plan(self, frame: Exposure, calibrations: Sequence[Exposure]) -> tuple[MasterPlan, ...]:
        """Return plans of the masters that a frame of the sky is calibrated with."""

    def combine(
        self, plan: MasterPlan, members: Sequence[Exposure], images: Floats, masters: Mapping[str, Master]
    ) -> Master:
        """Return a master; `images` is (n, ny, nx), `masters` contains the masters in `plan.needs`, by kind."""

    def reduce(self, image: Floats, frame: Exposure, masters: Mapping[str, Master]) -> tuple[Floats, Ints]:
        """Return the calibrated image (ny, nx) in the raw unit, and pixel flags (ny, nx) of defects of the masters."""


class BackgroundEstimator(Protocol):
    """Models the sky of a frame."""

    def estimate(self, image: Floats, mask: Bools) -> tuple[Floats, float]:
        """Return the sky image (ny, nx) and the rms of the sky noise, e-/s; `mask` is True where not to be used."""


class SourceExtractor(Protocol):
    """Finds sources in a frame."""

    def extract(self, image: Floats, variance: Floats, mask: Bools) -> SourceTable:
        """Return a :data:`SOURCES` table."""


class PlateSolver(Protocol):
    """Finds a frame's WCS."""

    def solve(self, sources: SourceTable, shape: tuple[int, int], hint: SolveHint) -> PlateSolution | NotSolved:
        """Return a solution, or why there is none."""


class Ephemeris(Protocol):
    """Tells where the target of a region is."""

    def positions(self, ra: float, dec: float, moments: Moments) -> tuple[Floats, Floats]:
        """Return (n,) right ascensions and declinations, ICRS degrees, as they are compared with catalogued stars.

        Parameters
        ----------
        ra, dec : float
            ``ra`` and ``dec`` of ``[roi.NAME]``, degrees.
        moments : Moments
            The n times.

        Raises
        ------
        UnusableInput
            Where it has no position for one of the times.
        """


class StarCatalog(Protocol):
    """A catalogue of stars."""

    def query(self, region: Region, limits: CatalogLimits) -> StarTable:
        """Return a :data:`STARS` table of the stars in the region within the limits."""


class VariableCatalog(Protocol):
    """Knows variable stars by their positions."""

    def variables(self, region: Region) -> VariableTable:
        """Return the variable stars in a region; none is an answer too."""


class CosmicMasker(Protocol):
    """Finds cosmic rays in stamps."""

    def mask(self, stamps: Floats, noise: Floats) -> Bools:
        """Return (n, ny, nx) True on pixels hit by a cosmic ray."""


class PsfModel(Protocol):
    """Models a frame's PSF from stamps of its stars."""

    def fit(self, batch: PsfBatch) -> list[PSF]:
        """Return one PSF for each frame of the batch."""

    def at(self, psf: PSF, xy: Floats) -> Floats:
        """Return the kernels (n, m, m) at positions `xy` (n, 2) in the frame, pixels."""


class ComparisonStars(Protocol):
    """Chooses the comparison stars of a frame."""

    def choose(self, candidates: CandidateStars, wanted: int) -> Ints:
        """Return the indices of at most `wanted` different stars."""


class Photometry(Protocol):
    """Measures fluxes and positions of stars in stamps."""

    @property
    def joint(self) -> bool:
        """Whether all epochs of a star must be measured together."""

    def measure(self, stamps: Stamps, kernels: Kernels) -> PhotometryResult:
        """Return each stamp's flux and position."""


class Normalization(Protocol):
    """Solves for the relative transparency of frames."""

    def solve(self, fluxes: FluxMatrix) -> NormalizationSolution:
        """Return coefficients of frames and levels of stars."""


class CalibrationSurvey(Protocol):
    """A survey with magnitudes of stars for the absolute calibration."""

    def magnitudes(self, stars: StarTable, band: str) -> MagnitudeTable:
        """Return a :data:`MAGNITUDES` table of the stars that have a magnitude in the band."""


class RoiModel(Protocol):
    """Measures the point sources of a region in all its epochs."""

    def fit(self, cutouts: Cutouts, point_sources: PointSources) -> RoiFit:
        """Return the light curves and the other results of the fit."""


class SettingRule(Protocol):
    """Decides settings that the project file leaves open, by what a sample of frames shows.

    The class attributes say which and when: `settings` the dotted names (``"stamps.star_size"``; ``"roi.*.NAME"`` for
    an option of every region), `before` the stage before which they are decided, `frames` how many frames a decision
    is to rest on before it is frozen, `shared` whether all instruments share the setting.
    """

    settings: ClassVar[tuple[str, ...]]
    before: ClassVar[str]
    frames: ClassVar[int]
    shared: ClassVar[bool]

    def decide(self, evidence: Evidence) -> Sequence[Decision]:
        """Return a decision for each setting about which the evidence says something."""

    def differ(self, setting: str, old: Any, new: Any) -> bool:
        """Return whether a decision on new frames contradicts an earlier one by more than chance."""


class Exporter(Protocol):
    """Writes a region's light curve in one file format."""

    def export(self, light_curve: Table, path: Path) -> None:
        """Write `light_curve` to `path`."""
