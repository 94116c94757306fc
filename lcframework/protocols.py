"""What a plugin's class must be able to do, and what it may be able to do besides.

First one protocol a seam, in pipeline order. Classes need not inherit from it; :mod:`lcframework.plugins` checks method
names and parameters when a plugin is loaded, and mypy checks the rest.

Then optional abilities, each a protocol of its own that ``isinstance`` recognises by the attribute's or method's name.
Most are attributes: a class has the ability where the attribute is there, and its value says the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

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

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.table import Table


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
    """Measures stars."""

    @property
    def joint(self) -> bool:
        """Whether all epochs of a star must be measured together."""

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


@runtime_checkable
class HasVersion(Protocol):
    """Any class that numbers its answers; 1 where it doesn't.

    `results_version` is raised when answers change: products that the class made are then made again.
    """

    results_version: ClassVar[int]


@runtime_checkable
class HasOperational(Protocol):
    """Any class with options that can't change an answer, such as a time-out.

    `operational` names them: changing one puts no product out of date.
    """

    operational: ClassVar[frozenset[str]]


@runtime_checkable
class UsesNetwork(Protocol):
    """Any class that asks services on the network."""

    @property
    def offline(self) -> bool:
        """Whether it must do without: an option, which is true where ``[run] offline`` is."""


@runtime_checkable
class KeepsCache(Protocol):
    """Any class that keeps answers from one run to the next."""

    @property
    def cache_dir(self) -> Path | None:
        """The folder for them: an option, which is the workdir's ``cache`` where the project file does not set it."""


@runtime_checkable
class HasTimeReference(Protocol):
    """A header parser with an option that says which moment of the exposure its time is.

    `lcf headers` advises to set it where file times say otherwise.
    """

    @property
    def time_reference(self) -> str:
        """``"start"``, ``"mid"`` or ``"end"``; empty for what the header says."""


@runtime_checkable
class NeedsPosition(Protocol):
    """A plate solver that says whether it needs a position; one without the attribute is taken to need it."""

    @property
    def needs_position(self) -> bool:
        """Whether it may answer otherwise when it is asked again with the position of another region."""


@runtime_checkable
class NeedsStars(Protocol):
    """A plate solver that says whether it needs the catalogue's stars; one without the attribute gets none."""

    @property
    def needs_stars(self) -> bool:
        """Whether the hint must hold the stars of the field."""


@runtime_checkable
class NeedsReference(Protocol):
    """A plate solver that says whether it needs another frame, which is solved; one without the attribute gets none."""

    @property
    def needs_reference(self) -> bool:
        """Whether the hint must hold another frame's sources and WCS."""


@runtime_checkable
class NamesReference(Protocol):
    """A plate solver with an option that names the reference which it needs."""

    @property
    def frame(self) -> str:
        """The file name of the reference; empty for the best matched frame of each region, in turn."""


@runtime_checkable
class FitsInBatches(Protocol):
    """A PSF model, photometry or ROI model that knows how many frames its device has memory for."""

    def frames_at_once(self, stars: int, size: int) -> tuple[int, str]:
        """Return how many frames to fit together, and a forecast in words, for the log.

        Parameters
        ----------
        stars : int
            How many stamps a frame has, at most: its stars; 1 for a region.
        size : int
            The sides of a stamp, pixels.

        Returns
        -------
        frames : int
            At least 1. Where a fit may be divided, it gets no more frames than that in one call.
        forecast : str
            Such as what memory is free, and what a frame takes of it.
        """


@runtime_checkable
class WarmsUp(Protocol):
    """A PSF model, photometry or ROI model whose first fit has to wait for something, such as compiled programs."""

    def warm_up(self, stars: int, size: int) -> None:
        """Load it, for frames of `stars` stamps with sides of `size` pixels; called in a thread beside other work."""


@runtime_checkable
class MeasuresApertures(Protocol):
    """A photometry or ROI model that says whether its fluxes can hold the light that the PSF misses.

    One without the attribute can't, and a project with ``[photometry] aperture`` is refused.
    """

    @property
    def apertures(self) -> bool:
        """Whether it adds what lies within `Stamps.aperture` or `Cutouts.aperture`."""


@runtime_checkable
class HasSuffix(Protocol):
    """An exporter whose files end otherwise than in the format's name."""

    @property
    def suffix(self) -> str:
        """The ending, without a leading dot."""
