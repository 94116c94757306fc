"""What a plugin's class must be able to do: one protocol a seam, in pipeline order.

Classes need not inherit from these; :mod:`lcframework.plugins` checks method names and parameters when a plugin is
loaded, and mypy checks the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from astropy.io import fits
from astropy.table import Table

from lcframework.types import (
    PSF,
    Bools,
    CatalogLimits,
    Cutouts,
    Exposure,
    Floats,
    FluxMatrix,
    HeaderInfo,
    Ints,
    Kernels,
    MagnitudeTable,
    Master,
    MasterPlan,
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
)


class HeaderParser(Protocol):
    """Reads the headers of one telescope."""

    def parse(self, header: fits.Header, path: Path) -> HeaderInfo | Mapping[str, Any] | None:
        """Return what the merged header says, or None where it is not this parser's."""


class Reduction(Protocol):
    """Calibrates raw images by frames of the detector, such as bias, dark and flat."""

    def describe(self, header: fits.Header, path: Path, shape: tuple[int, int]) -> Exposure:
        """Return what a raw file is and how it was taken."""

    def plan(self, frame: Exposure, calibrations: Sequence[Exposure]) -> tuple[MasterPlan, ...]:
        """Return the masters that a frame of the sky is to be calibrated by."""

    def combine(
        self, plan: MasterPlan, members: Sequence[Exposure], images: Floats, masters: Mapping[str, Master]
    ) -> Master:
        """Return a master; `images` is (n, ny, nx), `masters` holds what the plan needs, by kind."""

    def reduce(self, image: Floats, frame: Exposure, masters: Mapping[str, Master]) -> tuple[Floats, Ints]:
        """Return the calibrated image, in its own unit, and the pixel flags (ny, nx) that the masters add."""


class BackgroundEstimator(Protocol):
    """Models the sky of a frame."""

    def estimate(self, image: Floats, mask: Bools) -> tuple[Floats, float]:
        """Return the sky image and its rms."""


class SourceExtractor(Protocol):
    """Finds sources in a frame."""

    def extract(self, image: Floats, variance: Floats, mask: Bools) -> SourceTable:
        """Return a :data:`SOURCES` table."""


class PlateSolver(Protocol):
    """Finds a frame's WCS."""

    def solve(self, sources: SourceTable, shape: tuple[int, int], hint: SolveHint) -> PlateSolution | NotSolved:
        """Return a solution, or why there is none."""


class StarCatalog(Protocol):
    """Knows stars."""

    def query(self, region: Region, limits: CatalogLimits) -> StarTable:
        """Return a :data:`STARS` table of the region."""


class CosmicMasker(Protocol):
    """Finds cosmic rays in stamps."""

    def mask(self, stamps: Floats, noise: Floats) -> Bools:
        """Return True where a cosmic ray fell, (n, ny, nx)."""


class PsfModel(Protocol):
    """Models a frame's PSF from stamps of its stars."""

    def fit(self, batch: PsfBatch) -> list[PSF]:
        """Return one PSF a frame."""

    def at(self, psf: PSF, xy: Floats) -> Floats:
        """Return the kernels (n, m, m) at positions (n, 2) of the frame."""


class Photometry(Protocol):
    """Measures stars. `joint`: whether all epochs of a star must be measured together."""

    joint: bool

    def measure(self, stamps: Stamps, kernels: Kernels) -> PhotometryResult:
        """Return each stamp's flux and position."""


class Normalization(Protocol):
    """Finds the frames' relative transparency."""

    def solve(self, fluxes: FluxMatrix) -> NormalizationSolution:
        """Return coefficients of frames and levels of stars."""


class CalibrationSurvey(Protocol):
    """Knows magnitudes of stars in bands."""

    def magnitudes(self, stars: StarTable, band: str) -> MagnitudeTable:
        """Return a :data:`MAGNITUDES` table."""


class RoiModel(Protocol):
    """Measures the point sources of a region in all its epochs."""

    def fit(self, cutouts: Cutouts, point_sources: PointSources) -> RoiFit:
        """Return the light curves and what was fitted with them."""


class Exporter(Protocol):
    """Writes a region's light curve in a format of its own."""

    def export(self, light_curve: Table, path: Path) -> None:
        """Write `light_curve` to `path`."""
