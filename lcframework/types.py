"""The values that pass through hooks: frozen attrs classes, table schemas, flags and the kinds of failure.

Conventions, everywhere:

- Pixel coordinates are 0-based ``(x, y)``; the centre of an image's first pixel is ``(0, 0)``.
- Images are ``(ny, nx)`` arrays, in e-/s once imported; stacks of them put the stack's axis first.
- A boolean mask is True where a pixel must **not** be used.
- Sky offsets ``(xi, eta)`` are on the tangent plane: arcsec towards east and north of a reference position.
- A kernel's centre is the geometric centre of its array, ``(m - 1) / 2`` on each axis.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

import attrs
import numpy as np
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]
Ints = NDArray[np.integer[Any]]

#: Astropy tables whose required columns are stated by :data:`SOURCES`, :data:`STARS`, :data:`MAGNITUDES`.
SourceTable: TypeAlias = Table
StarTable: TypeAlias = Table
MagnitudeTable: TypeAlias = Table


# ---------------------------------------------------------------- kinds of failure


class LcfError(Exception):
    """Anything that lcframework reports to the user without a traceback."""


class UnusableInput(LcfError):
    """This input can't be used: recorded with its reason, and the rest of the run goes on."""


class NeedMissing(LcfError):
    """Something that the work needs is not there; the message names the command or setting that gives it."""


class PluginError(LcfError):
    """A plugin is missing, ambiguous, broken, or breaks the contract of its hook."""


# ---------------------------------------------------------------- flags


class PixelFlag(enum.IntFlag):
    """Why a pixel is masked; bits of the mask extension of a frame and of the stamps' masks."""

    SATURATED = 1
    BLANK = 2
    HOT = 4
    BAD_LINE = 8
    COSMIC = 16
    NEIGHBOUR = 32
    DEFECT = 64


class FrameFlag(enum.IntFlag):
    """What is odd about a frame that is used all the same; bits of ``frames.flags``."""

    FEW_SOURCES = 1
    SUN_UP = 2
    WCS_REFINED = 4
    ODD_TIME = 8
    TARGET_DOWN = 16


class EpochFlag(enum.IntFlag):
    """What is odd about one epoch of a light curve; bits of the ``flags`` column."""

    FIT_NOT_CONVERGED = 1
    HIGH_CHI2 = 2
    PIXELS_CLIPPED = 4
    LOW_SIGNAL = 8


# ---------------------------------------------------------------- tables


@attrs.frozen
class Column:
    """One column of a table at a seam: its name, its unit as a string ('' for none) and what it holds."""

    name: str
    unit: str
    meaning: str
    required: bool = True


@attrs.frozen
class TableSchema:
    """What a table that passes through a hook must hold, and which column names its rows."""

    name: str
    columns: tuple[Column, ...]
    identity: str | None = None

    def check(self, table: Any, who: str) -> Table:
        """Return the table if it fulfils the schema.

        Parameters
        ----------
        table : astropy.table.Table
            What a plugin returned.
        who : str
            The plugin's name, for the message.

        Raises
        ------
        PluginError
            Naming the plugin and each column that is missing, or the rows that share one identity.
        """
        if not isinstance(table, Table):
            raise PluginError(f"{who} returned a {type(table).__name__} where a {self.name} table is expected")
        missing = [c.name for c in self.columns if c.required and c.name not in table.colnames]
        if missing:
            raise PluginError(
                f"{who} returned a {self.name} table without {', '.join(missing)}; it has {', '.join(table.colnames)}"
            )
        if self.identity is not None and len(table) != len(set(map(str, table[self.identity]))):
            raise PluginError(f"{who} returned a {self.name} table in which a {self.identity} appears twice")
        return table


#: Sources found in one frame. Fluxes in e-/s.
SOURCES = TableSchema(
    "sources",
    (
        Column("x", "pix", "0-based centroid"),
        Column("y", "pix", "0-based centroid"),
        Column("flux", "", "e-/s, any consistent aperture"),
        Column("fwhm", "pix", "full width at half maximum"),
        Column("a", "pix", "rms along the major axis"),
        Column("b", "pix", "rms along the minor axis"),
        Column("theta", "rad", "position angle of the major axis from +x towards +y"),
        Column("flags", "", "0 for a clean detection"),
    ),
)

#: Stars of a catalogue, one row a star.
STARS = TableSchema(
    "stars",
    (
        Column("source_id", "", "the catalogue's own identifier, a string"),
        Column("ra", "deg", "ICRS, at ref_epoch"),
        Column("dec", "deg", "ICRS, at ref_epoch"),
        Column("magnitude", "mag", "in the catalogue's main band"),
        Column("pmra", "mas / yr", "proper motion in ra times cos(dec); nan where unknown"),
        Column("pmdec", "mas / yr", "nan where unknown"),
        Column("ref_epoch", "yr", "Julian year of the position"),
        Column("bp", "mag", "Gaia BP", required=False),
        Column("rp", "mag", "Gaia RP", required=False),
        Column("astrometric_excess_noise", "mas", "", required=False),
        Column("flux_over_error", "", "mean flux over its error in the main band", required=False),
        Column("variable", "", "True where the catalogue calls the star variable", required=False),
    ),
    identity="source_id",
)

#: Calibration magnitudes of stars; ``meta['system']`` is 'AB' or 'Vega'.
MAGNITUDES = TableSchema(
    "magnitudes",
    (
        Column("source_id", "", "as in the star table that was asked for; stars without a magnitude are left out"),
        Column("mag", "mag", "in the band asked for"),
        Column("mag_err", "mag", "one sigma"),
        Column("colour", "mag", "a colour of the star, of which meta['colour'] is the name", required=False),
    ),
    identity="source_id",
)


# ---------------------------------------------------------------- frames


class TimeReference(enum.StrEnum):
    """Which moment of an exposure a header's time is."""

    START = "start"
    MID = "mid"
    END = "end"


class DataUnit(enum.StrEnum):
    """What a raw pixel counts."""

    ADU = "adu"
    ELECTRON = "electron"
    ADU_PER_SECOND = "adu/s"
    ELECTRON_PER_SECOND = "electron/s"


def _positive(instance: Any, attribute: Any, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{attribute.name} must be a positive number, got {value!r}")


def _finite(instance: Any, attribute: Any, value: float) -> None:
    if not np.isfinite(value):
        raise ValueError(f"{attribute.name} must be a finite number, got {value!r}")


@attrs.frozen
class HeaderInfo:
    """What a header parser reads off one frame."""

    exptime: float = attrs.field(converter=float, validator=_positive)  # s
    gain: float = attrs.field(converter=float, validator=_positive)  # e-/unit of the data
    mjd: float = attrs.field(converter=float, validator=_finite)  # UTC, d
    time_reference: TimeReference = attrs.field(default=TimeReference.START, converter=TimeReference)
    time_source: str = ""  # the header keyword that the time came from
    band: str = ""
    instrument: str = ""
    site: str = ""
    saturation: float = attrs.field(default=np.inf, converter=float)  # in the unit of the data; inf: unknown
    read_noise: float = attrs.field(default=np.nan, converter=float)  # e-; nan: unknown
    data_unit: DataUnit = attrs.field(default=DataUnit.ADU, converter=DataUnit)
    flags: int = 0  # FrameFlag bits

    @property
    def mjd_start(self) -> float:
        """Start of the exposure, MJD (UTC)."""
        back = {TimeReference.START: 0.0, TimeReference.MID: 0.5, TimeReference.END: 1.0}[self.time_reference]
        return self.mjd - back * self.exptime / 86400.0

    @property
    def mjd_mid(self) -> float:
        """Middle of the exposure, MJD (UTC)."""
        return self.mjd_start + 0.5 * self.exptime / 86400.0

    @property
    def mjd_end(self) -> float:
        """End of the exposure, MJD (UTC)."""
        return self.mjd_start + self.exptime / 86400.0


# ---------------------------------------------------------------- reduction


@attrs.frozen
class Exposure:
    """What a reduction reads off one raw file's header; None where the header does not say."""

    name: str  # the file, as messages and records call it
    kind: str = ""  # a kind of calibration frame, such as "bias"; "light": a frame of the sky; "": none of these
    setup: tuple[tuple[str, str], ...] = ()  # (keyword, value): what must agree between a frame and its calibration
    band: str = ""
    exptime: float | None = None  # s
    temperature: float | None = None  # of the detector, degrees C
    shape: tuple[int, int] = (0, 0)  # (ny, nx) in the file


@attrs.frozen
class MasterPlan:
    """A master frame that is to be made, and from what."""

    name: str  # for people, and unique: two plans of one name are the same
    kind: str
    members: tuple[str, ...]  # the names of the exposures that are combined
    needs: tuple[MasterPlan, ...] = ()  # masters that are applied to the members before


@attrs.frozen(eq=False)
class Master:
    """A master frame."""

    kind: str
    image: Floats  # (ny, nx) in the raw unit; a flat is relative
    bad: Bools  # (ny, nx) where it says nothing
    exptime: float | None = None  # s, that `image` is of
    used: tuple[str, ...] = ()  # the names of the exposures that it was combined from in the end


# ---------------------------------------------------------------- sky


@attrs.frozen
class Region:
    """A piece of sky: a cone, or the polygon of `vertices` inside that cone."""

    ra: float  # degrees, ICRS
    dec: float  # degrees
    radius: float  # degrees
    vertices: tuple[tuple[float, float], ...] | None = None  # (ra, dec) degrees


@attrs.frozen
class CatalogLimits:
    """Which stars of a catalogue are wanted; a catalogue that lacks a quantity ignores its limit."""

    magnitude: tuple[float, float] = (-np.inf, np.inf)  # main band
    max_astrometric_excess_noise: float = np.inf  # mas
    min_flux_over_error: float = 0.0


@attrs.frozen(eq=False)
class SolveHint:
    """What is known of a frame's pointing before it is solved; None where nothing is known."""

    ra: float | None = None  # degrees, ICRS
    dec: float | None = None  # degrees
    radius: float | None = None  # degrees
    scale: tuple[float, float] | None = None  # arcsec/pixel
    header: fits.Header | None = None  # the frame's own header, which may hold a WCS
    stars: StarTable | None = None  # catalogue stars of the field at the frame's epoch
    reference_sources: SourceTable | None = None  # of a frame that is solved
    reference_wcs: fits.Header | None = None


@attrs.frozen(eq=False)
class PlateSolution:
    """A WCS, and how well it matches."""

    header: fits.Header  # a complete celestial WCS, with SIP or TPV where there is distortion
    matched: int = 0  # stars matched; 0: unknown
    rms: float = np.nan  # pixels; nan: unknown
    refined: bool = False


@attrs.frozen
class NotSolved:
    """No WCS was found."""

    reason: str


# ---------------------------------------------------------------- fits


class FitState(enum.StrEnum):
    """How a fit ended."""

    CONVERGED = "converged"
    BOUND = "stopped at the bound"
    FAILED = "failed"


@attrs.frozen
class FitStatus:
    """How a fit ended, after how many evaluations, and why."""

    state: FitState
    evaluations: int = 0
    reason: str = ""

    @property
    def usable(self) -> bool:
        """Whether the values may be used."""
        return self.state is not FitState.FAILED


@attrs.frozen(eq=False)
class PsfBatch:
    """Star stamps of a batch of frames, padded to one number of stars."""

    data: Floats  # (f, n, ny, nx) e-/s
    noise: Floats  # (f, n, ny, nx) one sigma, e-/s
    mask: Bools  # (f, n, ny, nx) True: do not use; all True for a padded star
    xy: Floats  # (f, n, 2) where each stamp's central point (n - 1) / 2 lies in its frame, pixels
    offset: Floats  # (f, n, 2) expected position of the star from the stamp's centre, pixels
    seeing: Floats  # (f,) FWHM guess, pixels
    frame_shape: tuple[int, int]  # (ny, nx) of the frames

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.data)


@attrs.frozen(eq=False)
class PSF:
    """The PSF of one frame as a PSF model makes it.

    The point-source image on the data's pixels is: `narrow`, convolved with a Gaussian of `target_fwhm` small
    pixels centred on the source, summed over blocks of `subsampling_factor` squared small pixels.
    """

    narrow: Floats  # (m, m) on small pixels, centred on the array's geometric centre, sum 1
    full: Floats  # (m, m) the same convolved with the target Gaussian
    subsampling_factor: int
    target_fwhm: float  # small pixels; 0: `narrow` is a full PSF
    status: FitStatus
    reduced_chi2: float
    distortion: Mapping[str, Floats] = attrs.field(factory=dict)  # known to the model's `at` alone
    frame_shape: tuple[int, int] = (0, 0)
    amplitude: Floats = attrs.field(factory=lambda: np.zeros(0))  # (n,) e-/s of each star
    offset: Floats = attrs.field(factory=lambda: np.zeros((0, 2)))  # (n, 2) fitted, from the stamp's centre
    star_chi2: Floats = attrs.field(factory=lambda: np.zeros(0))  # (n,) reduced
    outliers: Bools = attrs.field(factory=lambda: np.zeros((0, 0, 0), bool))  # (n, ny, nx) found in the residuals
    residuals: Floats = attrs.field(factory=lambda: np.zeros((0, 0, 0)))  # (n, ny, nx) data - model, e-/s
    loss_history: Floats = attrs.field(factory=lambda: np.zeros(0))
    rejected: Mapping[int, str] = attrs.field(factory=dict)  # index of a star left out: why


@attrs.frozen(eq=False)
class Stamps:
    """Stamps, one a measurement. A joint photometry plugin gets all epochs of one star; else any mixture."""

    data: Floats  # (n, ny, nx) e-/s
    noise: Floats  # (n, ny, nx) one sigma
    mask: Bools  # (n, ny, nx)
    offset: Floats  # (n, 2) expected (x, y) of the star from the stamp's centre, pixels

    def __len__(self) -> int:
        """Return the number of stamps."""
        return len(self.data)


@attrs.frozen(eq=False)
class Kernels:
    """One kernel a stamp, as `PSF` defines them."""

    values: Floats  # (n, m, m), narrow PSFs, sum 1
    subsampling_factor: int
    target_fwhm: float  # small pixels; 0: full PSFs


@attrs.frozen(eq=False)
class PhotometryResult:
    """Fluxes and positions of stamps' stars."""

    flux: Floats  # (n,) e-/s
    x: Floats  # (n,) from the stamp's centre, pixels
    y: Floats  # (n,)
    background: Floats  # (n,) e-/s a pixel; 0 where none is fitted
    covariance: Floats  # (n, 3, 3) of (flux, x, y), background marginalised
    reduced_chi2: Floats  # (n,)
    status: tuple[FitStatus, ...]
    model: Floats  # (n, ny, nx)
    outliers: Bools  # (n, ny, nx)


@attrs.frozen(eq=False)
class FluxMatrix:
    """Star fluxes of the frames of one instrument and band. nan: not measured, or left out by a selection."""

    flux: Floats  # (f, n) e-/s
    error: Floats  # (f, n)
    xy: Floats  # (f, n, 2) pixels in the frame, nan where not measured
    frame_shape: tuple[int, int]
    reference_xy: Floats | None = None  # (f, 2) where a coefficient that varies over the frame is wanted: at the ROI


@attrs.frozen(eq=False)
class NormalizationSolution:
    """Relative transparency of frames and levels of stars: ``flux[f, s] ~ coefficient[f] * level[s]``.

    The gauge (the product is unchanged by a factor moved from one to the other) is fixed by the caller.
    """

    coefficient: Floats  # (f,) nan where a frame has no star
    coefficient_uncertainty: Floats  # (f,) standard error
    scatter: Floats  # (f,) relative scatter of the stars around the solution
    level: Floats  # (n,) e-/s
    level_error: Floats  # (n,)
    intrinsic_scatter: Floats  # (n,) relative, beyond the errors
    used: Bools  # (f, n) False where clipped or missing
    status: FitStatus
    rejected: Mapping[int, str] = attrs.field(factory=dict)  # index of a star left out: why
    model: Floats | None = None  # (f, n) e-/s, the fluxes that it expects; None: coefficient times level
    extra_scatter: Floats | None = None  # (f,) relative, of a source's flux beyond its errors, as the stars show


# ---------------------------------------------------------------- regions of interest


@attrs.frozen(eq=False)
class PointSources:
    """The point sources of a region of interest."""

    names: tuple[str, ...]
    offset: Floats  # (k, 2) (xi, eta) arcsec from the ROI's position


@attrs.frozen(eq=False)
class Cutouts:
    """All epochs of one region in one instrument and band, normalised by the frames' coefficients.

    `transform` maps sky to stamp pixels: ``(x, y) = T[:, :2] @ (xi, eta) + T[:, 2]`` with x, y 0-based in the stamp;
    it holds the WCS and the registration.
    """

    data: Floats  # (e, ny, nx) e-/s
    noise: Floats  # (e, ny, nx)
    mask: Bools  # (e, ny, nx)
    kernels: Kernels  # e of them
    transform: Floats  # (e, 2, 3) pixels per arcsec, pixels
    registration_covariance: Floats  # (e, 2, 2) pixels^2, of the constant part of `transform`
    mjd: Floats  # (e,) UTC, mid-exposure
    seeing: Floats  # (e,) arcsec
    airmass: Floats  # (e,) nan where unknown
    normalization_error: Floats  # (e,) relative
    zenith: Floats = attrs.field()  # (e, 2) tan z times the zenith's direction (xi, eta); nan where unknown

    @zenith.default
    def _unknown(self) -> Floats:
        return np.full((len(self.data), 2), np.nan)

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.data)


@attrs.frozen(eq=False)
class HighResolution:
    """An image on small pixels and where it lies: ``(x, y) = transform[:, :2] @ (xi, eta) + transform[:, 2]``."""

    background: Floats  # (m, m) e-/s a small pixel, without point sources
    model: Floats  # (m, m) the same with the mean point sources as Gaussians of `target_fwhm`
    transform: Floats  # (2, 3) small pixels per arcsec, small pixels


@attrs.frozen(eq=False)
class RoiFit:
    """Light curves of a region's point sources."""

    flux: Floats  # (e, k) e-/s
    covariance: Floats  # (e, k, k) random, from the pixels' noise alone
    common_covariance: Floats  # (e, k, k) moves all epochs of a source together; not to be added to `covariance`
    offset: Floats  # (k, 2) fitted (xi, eta) arcsec
    offset_covariance: Floats  # (2k, 2k) arcsec^2, in the order xi_1, eta_1, xi_2, ...
    translation: Floats  # (e, 2) pixels, beyond `transform`
    high_resolution: HighResolution
    model: Floats  # (e, ny, nx)
    outliers: Bools  # (e, ny, nx)
    reduced_chi2: Floats  # (e,)
    status: FitStatus
    loss_history: Floats = attrs.field(factory=lambda: np.zeros(0))


# ---------------------------------------------------------------- around the chain


@attrs.frozen
class RunEvent:
    """Something that happened in a run; `kind` is one of `KINDS`."""

    KINDS: ClassVar[tuple[str, ...]] = (
        "run_started",
        "stage_started",
        "unit_done",
        "stage_finished",
        "run_finished",
    )
    kind: str
    stage: str = ""
    unit: str = ""
    message: str = ""
    done: int = 0  # units of the stage that are finished
    total: int = 0  # units of the stage that were pending
