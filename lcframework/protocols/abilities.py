"""Optional abilities of plugins' classes.

Each is a protocol that ``isinstance`` recognises by the name of an attribute or method. A class without the attribute
does not have the ability; the value of the attribute gives the details.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from lcframework.types import (
    Discs,
    Doubt,
    Exposure,
    FileFault,
    Floats,
    Moments,
)

if TYPE_CHECKING:
    from astropy.table import Table

    from lcframework.protocols.of_seams import RoiModel


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
