"""The protocols of plugins' classes: required methods, and optional abilities.

First comes one protocol for each seam, in the order of the pipeline. Classes need not inherit from it.
:mod:`lcframework.plugins` checks method names and parameters when a plugin is loaded; mypy checks the types.

Then come optional abilities. Each is a protocol that ``isinstance`` recognises by the name of an attribute or method. A
class without the attribute does not have the ability; the value of the attribute gives the details.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from lcframework.types import (
    PSF,
    Bools,
    CandidateStars,
    CatalogLimits,
    Cutouts,
    Decision,
    Discs,
    Doubt,
    Evidence,
    Exposure,
    FileFault,
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


@runtime_checkable
class HasVersion(Protocol):
    """Any class with a version of its results; the version is 1 without the attribute.

    Authors increase `results_version` when results change: products that the class made are then made again.
    """

    results_version: ClassVar[int]


@runtime_checkable
class HasOperational(Protocol):
    """Any class with options that can't change results, such as a time-out.

    `operational` contains their names. A change of such an option makes no product out of date.
    """

    operational: ClassVar[frozenset[str]]


@runtime_checkable
class RunsFiles(Protocol):
    """Any class with options that are Python files or programs to run.

    `runs` contains their names. The user is asked before a project's file is run.
    """

    runs: ClassVar[tuple[str, ...]]


@runtime_checkable
class DoubtsReduction(Protocol):
    """A reduction that states what it leaves undone, such as a flat for want of flats."""

    def doubts(self, frame: Exposure, calibrations: Sequence[Exposure]) -> tuple[Doubt, ...]:
        """Return what is doubtful about a frame that `plan` answers for with the same arguments."""


@runtime_checkable
class UsesNetwork(Protocol):
    """Any class that uses services on the network."""

    @property
    def offline(self) -> bool:
        """Whether it must not use the network: an option, set to true where ``[run] offline`` is true."""


@runtime_checkable
class KeepsCache(Protocol):
    """Any class that caches answers of services for later runs."""

    @property
    def cache_dir(self) -> Path | None:
        """The folder of the cache: an option; ``cache`` in the workdir where the project file does not set it."""


@runtime_checkable
class HasTimeReference(Protocol):
    """A header parser with an option for the moment of the exposure that the time in the header gives.

    `lcf headers` advises to set it where the header contradicts it.
    """

    @property
    def time_reference(self) -> str:
        """``"start"``, ``"mid"`` or ``"end"``; empty to use what the header states."""


@runtime_checkable
class StatesPositionErrors(Protocol):
    """An ephemeris that states how well it knows its positions; without the method, they are taken for exact."""

    def position_errors(self, moments: Moments) -> Floats:
        """Return (n,) standard errors of the positions, arcsec on the sky; they loosen the registration."""


@runtime_checkable
class NeedsPosition(Protocol):
    """A plate solver that states whether it needs a position; without the attribute, it is assumed to need one."""

    @property
    def needs_position(self) -> bool:
        """Whether its answer may be different when it is called with the position of another region."""


@runtime_checkable
class NeedsStars(Protocol):
    """A plate solver that states whether it needs catalogue stars; without the attribute, it gets none."""

    @property
    def needs_stars(self) -> bool:
        """Whether the hint must contain the catalogue stars of the field."""


@runtime_checkable
class NeedsReference(Protocol):
    """A plate solver that states whether it needs another, solved frame; without the attribute, it gets none."""

    @property
    def needs_reference(self) -> bool:
        """Whether the hint must contain the sources and WCS of another frame."""


@runtime_checkable
class NamesReference(Protocol):
    """A plate solver with an option that names its reference frame."""

    @property
    def frame(self) -> str:
        """The file name of the reference; empty to try the best matched frame of each region, one after another."""


@runtime_checkable
class FitsInBatches(Protocol):
    """A PSF model, photometry or ROI model that can estimate how many frames fit in the memory of its device."""

    def frames_at_once(self, stars: int, size: int) -> tuple[int, str]:
        """Return how many frames to fit together, and the memory estimate in words, for the log.

        Parameters
        ----------
        stars : int
            The largest number of stamps of a frame: the number of its stars; 1 for a region.
        size : int
            The length of a stamp's sides, pixels.

        Returns
        -------
        frames : int
            At least 1. A fit that can be divided gets at most this number of frames in one call.
        forecast : str
            For example the free memory, and the memory that a frame needs.
        """


@runtime_checkable
class WarmsUp(Protocol):
    """A PSF model, photometry or ROI model that must prepare its first fit, for example compile programs."""

    def warm_up(self, stars: int, size: int) -> None:
        """Prepare fits of frames with `stars` stamps with sides of `size` pixels; called in a thread."""


@runtime_checkable
class MeasuresApertures(Protocol):
    """A photometry or ROI model that states whether its fluxes can include light that the PSF misses.

    Without the attribute they can't, and a project file that sets ``[photometry] aperture`` is refused.
    """

    @property
    def apertures(self) -> bool:
        """Whether it adds the residual light within `Stamps.aperture` or `Cutouts.aperture` to the fluxes."""


@runtime_checkable
class CombinesEstimates(Protocol):
    """A ROI model that states whether it applies `Cutouts.estimators`: without the attribute it doesn't."""

    @property
    def combines_estimates(self) -> bool:
        """Whether sources are measured by the PSF and discs together, as the comparison stars are.

        False where other light is modelled beside them, to which residual light may belong.
        """


@runtime_checkable
class MeasuresInDiscs(Protocol):
    """A photometry whose fluxes are the light in discs alone: regions must be measured by an `AppliesDiscs`."""

    @property
    def discs(self) -> Discs:
        """How the discs lie; regions get the same ones."""


@runtime_checkable
class AppliesDiscs(Protocol):
    """A ROI model that states whether it measures sources in `Cutouts.discs`: without the attribute it doesn't.

    It is refused with a photometry that is no `MeasuresInDiscs`.
    """

    @property
    def applies_discs(self) -> bool:
        """Whether its fluxes are the light in the comparison stars' discs."""


@runtime_checkable
class MeasuresMovingTargets(Protocol):
    """A ROI model that states how it measures a target that moves over the sky.

    The target has one place in its cutouts then, and the sky behind it moves. Without the method the model is used as
    it is, and its fits are doubted.
    """

    def for_moving_target(self) -> RoiModel:
        """Return the model without whatever it holds fixed in the cutouts beside the point sources."""


@runtime_checkable
class HasSuffix(Protocol):
    """An exporter whose file ending is not the name of the format."""

    @property
    def suffix(self) -> str:
        """The ending, without a leading dot."""


@runtime_checkable
class SplitsFiles(Protocol):
    """An exporter that needs several files for a light curve, or names for them that its readers demand."""

    def files(self, light_curve: Table) -> Mapping[str, Table]:
        """Return the epochs that each file gets, by its name.

        Names are plain, without folders. ``export`` is called for each with these epochs.
        """


@runtime_checkable
class ChecksFiles(Protocol):
    """An exporter that finds what is wrong in a file of its format, for ``lcf export --check``."""

    def recognises(self, path: Path) -> bool:
        """Return whether a file claims to be of this format, right or wrong; other files raise nothing."""

    def faults(self, path: Path) -> Sequence[FileFault]:
        """Return what is wrong in a file, in the order of its lines; nothing where it can be sent as it is."""
