"""The tables of the database. Their names and columns are part of the user interface: users query them."""

from __future__ import annotations

import datetime as dt
import enum
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from lcframework.storage.path_column import FilePath

#: The rule by which fingerprints are computed from components. Rule 1 included every option; rule 2 includes only the
#: options that are not at their defaults.
FINGERPRINT_RULE = 2


class Frame(SQLModel, table=True):
    """One row for each raw file that was found."""

    __tablename__ = "frames"

    id: int | None = Field(default=None, primary_key=True)
    original_image_path: str = Field(unique=True, index=True, sa_type=FilePath)
    key: str = Field(unique=True)
    raw_size: int = Field(default=0, sa_type=sa.BigInteger)
    raw_mtime_ns: int = Field(default=0, sa_type=sa.BigInteger)
    raw_digest: str = ""
    image_relpath: str | None = None
    sources_relpath: str | None = None
    wcs_relpath: str | None = None
    band: str = ""
    instrument: str = Field(default="", index=True)
    mjd: float | None = Field(default=None, index=True)
    mjd_start: float | None = None
    mjd_end: float | None = None
    time_source: str | None = None
    header_parser: str = ""
    exptime: float | None = None
    gain: float | None = None
    read_noise: float | None = None
    saturation: float | None = None
    width: int | None = None
    height: int | None = None
    plate_solved: bool = False
    attempted_plate_solve: bool = False
    solver: str | None = None
    wcs_matched: int | None = None
    wcs_rms_pixels: float | None = None
    pixel_scale: float | None = None
    angle_to_north: float | None = None
    seeing_pixels: float | None = None
    seeing_arcseconds: float | None = None
    ellipticity: float | None = None
    sky_level_electron_per_second: float | None = None
    background_rms_electron_per_second: float | None = None
    sun_altitude: float | None = None
    moon_phase: float | None = None
    roi_in_footprint: bool = False
    eliminated: bool = False
    comment: str = ""
    flags: int = 0
    calibration: str = ""


class RawExposure(SQLModel, table=True):
    """What a reduction reads from the header of a raw file: a calibration frame, or a frame that is to be reduced."""

    __tablename__ = "exposures"

    role: str = Field(primary_key=True)
    instrument: str = Field(primary_key=True)
    path: str = Field(primary_key=True, sa_type=FilePath)
    name: str = Field(sa_type=FilePath)
    size: int = Field(default=0, sa_type=sa.BigInteger)
    mtime_ns: int = Field(default=0, sa_type=sa.BigInteger)
    digest: str = ""
    reader: str = ""
    kind: str = ""
    setup: list[list[str]] = Field(default_factory=list, sa_type=sa.JSON)
    band: str = ""
    exptime: float | None = None
    temperature: float | None = None
    height: int = 0
    width: int = 0
    comment: str = ""


class RoiInFrame(SQLModel, table=True):
    """The position of a region in a frame, and its position above the horizon at that time."""

    __tablename__ = "rois_in_frames"

    frame_id: int = Field(primary_key=True, foreign_key="frames.id")
    roi: str = Field(primary_key=True)
    roi_in_footprint: bool = False
    x: float | None = None
    y: float | None = None
    bjd_tdb: float | None = None
    airmass: float | None = None
    altitude: float | None = None
    azimuth: float | None = None
    degrees_to_moon: float | None = None
    ra: float | None = None
    dec: float | None = None
    trail: float | None = None
    position_error: float | None = None
    comment: str = ""


class FrameFootprint(SQLModel, table=True):
    """The polygon that a frame covers, (ra, dec) degrees."""

    __tablename__ = "footprints"

    frame_id: int = Field(primary_key=True, foreign_key="frames.id")
    polygon: list[list[float]] = Field(sa_type=sa.JSON)


class CombinedFootprint(SQLModel, table=True):
    """A field: the sky from which reference stars are taken. Stars, PSFs and coefficients belong to a field."""

    __tablename__ = "combined_footprint"

    hash: str = Field(primary_key=True)
    strategy: str
    rois: list[str] = Field(sa_type=sa.JSON)
    ra: float
    dec: float
    radius: float
    region: list[list[float]] | None = Field(default=None, sa_type=sa.JSON)
    common: list[list[float]] = Field(default_factory=list, sa_type=sa.JSON)
    total: list[list[list[float]]] = Field(default_factory=list, sa_type=sa.JSON)
    active: bool = True


class Star(SQLModel, table=True):
    """A reference star of a field; its letter (`name`) is assigned once and never reused."""

    __tablename__ = "stars"

    combined_footprint_hash: str = Field(primary_key=True)
    gaia_id: str = Field(primary_key=True)
    name: str
    ra: float
    dec: float
    pmra: float
    pmdec: float
    ref_epoch: float
    magnitude: float
    bp: float | None = None
    rp: float | None = None
    distance_to_roi_arcsec: float = 0.0
    active: bool = True
    comment: str = ""


class PassedStar(SQLModel, table=True):
    """A catalogued star, of whatever brightness, near the track of a region that moves."""

    __tablename__ = "passed_stars"

    combined_footprint_hash: str = Field(primary_key=True)
    gaia_id: str = Field(primary_key=True)
    ra: float
    dec: float
    pmra: float = 0.0
    pmdec: float = 0.0
    ref_epoch: float
    magnitude: float


class StarInFrame(SQLModel, table=True):
    """A reference star that a frame covers, and whether its stamp is usable."""

    __tablename__ = "stars_in_frames"

    frame_id: int = Field(primary_key=True)
    combined_footprint_hash: str = Field(primary_key=True)
    gaia_id: str = Field(primary_key=True)
    x: float
    y: float
    usable: bool = True
    masked_fraction: float | None = None
    saturated: bool = False
    signal_to_noise: float | None = None
    comment: str = ""
    psf_comment: str = ""


class CatalogStarPhotometry(SQLModel, table=True):
    """A star's magnitude in a calibration survey."""

    __tablename__ = "catalog_star_photometry"

    catalog: str = Field(primary_key=True)
    band: str = Field(primary_key=True)
    gaia_id: str = Field(primary_key=True)
    mag: float
    mag_err: float
    system: str = ""
    colour: float | None = None


class PsfRow(SQLModel, table=True):
    """The PSF of a frame, fitted to the reference stars of a field."""

    __tablename__ = "PSFs"

    combined_footprint_hash: str = Field(primary_key=True)
    frame_id: int = Field(primary_key=True)
    psf_ref: str
    path: str
    chi2: float
    subsampling_factor: int
    stars: str
    status: str
    evaluations: int = 0
    comment: str = ""


class StarFlux(SQLModel, table=True):
    """A star's flux in a frame, e-/s; where estimates are combined, the PSF's flux alone stands beside it."""

    __tablename__ = "star_flux_in_frame"

    combined_footprint_hash: str = Field(primary_key=True)
    frame_id: int = Field(primary_key=True)
    gaia_id: str = Field(primary_key=True)
    psf_ref: str
    flux: float
    flux_uncertainty: float
    x: float
    y: float
    x_offset: float
    y_offset: float
    x_uncertainty: float
    y_uncertainty: float
    background: float
    chi2: float
    status: str
    masked_outliers: int = 0
    psf_flux: float | None = None
    psf_flux_uncertainty: float | None = None
    weights: list[float] | None = Field(default=None, sa_type=sa.JSON)
    flux_noise: float | None = None

    @property
    def noise(self) -> float:
        """The part of the error that is noise; what scatters beyond it the normalization measures frame by frame."""
        return self.flux_uncertainty if self.flux_noise is None else self.flux_noise


class EstimatorWeights(SQLModel, table=True):
    """How flux estimates are combined in a field, instrument and band, as its comparison stars chose."""

    __tablename__ = "estimator_weights"

    combined_footprint_hash: str = Field(primary_key=True)
    instrument: str = Field(primary_key=True)
    band: str = Field(primary_key=True)
    radii: list[float] = Field(sa_type=sa.JSON)
    flux: list[float] = Field(sa_type=sa.JSON)
    weights: list[list[float]] = Field(sa_type=sa.JSON)
    noise_factor: float
    scatter: float
    psf_scatter: float
    stars: int
    frames: int
    held_out: dict[str, list[float]] = Field(sa_type=sa.JSON)
    note: str = ""


class EstimatorScales(SQLModel, table=True):
    """The discs of a frame, pixels, and the scale of each flux estimate there beside the PSF flux."""

    __tablename__ = "estimator_scales"

    combined_footprint_hash: str = Field(primary_key=True)
    frame_id: int = Field(primary_key=True)
    instrument: str
    band: str
    radii: list[float] = Field(sa_type=sa.JSON)
    scale: list[float] = Field(sa_type=sa.JSON)


class NormalizationCoefficient(SQLModel, table=True):
    """A frame's relative transparency within its footprint, instrument and band."""

    __tablename__ = "normalization_coefficients"

    combined_footprint_hash: str = Field(primary_key=True)
    frame_id: int = Field(primary_key=True)
    instrument: str
    band: str
    coefficient: float
    coefficient_uncertainty: float
    scatter: float
    stars: int
    extra_scatter: float = 0.0
    slow_scatter: float | None = None


class RegionCoefficient(SQLModel, table=True):
    """A frame's relative transparency at a region, where its field has several and it varies over the field."""

    __tablename__ = "region_coefficients"

    combined_footprint_hash: str = Field(primary_key=True)
    frame_id: int = Field(primary_key=True)
    roi: str = Field(primary_key=True)
    instrument: str
    band: str
    coefficient: float
    coefficient_uncertainty: float


class StarResidual(SQLModel, table=True):
    """The relative residual of a star's flux in a frame after normalization, and whether the flux was used."""

    __tablename__ = "star_residuals"

    combined_footprint_hash: str = Field(primary_key=True)
    frame_id: int = Field(primary_key=True)
    gaia_id: str = Field(primary_key=True)
    instrument: str
    band: str
    residual: float
    residual_error: float
    used: bool
    comment: str = ""


class StarLevel(SQLModel, table=True):
    """A star's mean normalised flux; `gauge_level` anchors the scale when frames are added."""

    __tablename__ = "star_levels"

    combined_footprint_hash: str = Field(primary_key=True)
    instrument: str = Field(primary_key=True)
    band: str = Field(primary_key=True)
    gaia_id: str = Field(primary_key=True)
    level: float
    level_error: float
    intrinsic_scatter: float
    gauge_level: float | None = None
    comment: str = ""
    note: str = ""


class AbsoluteZeropoint(SQLModel, table=True):
    """The magnitude of 1 e-/s after normalization."""

    __tablename__ = "absolute_zeropoints"

    combined_footprint_hash: str = Field(primary_key=True)
    instrument: str = Field(primary_key=True)
    band: str = Field(primary_key=True)
    catalog: str
    catalog_band: str
    system: str
    zeropoint: float
    zeropoint_uncertainty: float
    scatter: float
    stars: int
    colour: str = ""
    colour_term: float = 0.0
    colour_term_uncertainty: float = 0.0
    reference_colour: float = 0.0


class ProductState(enum.StrEnum):
    """The state of a unit's product, as in ``products.state``."""

    MADE = "made"
    UNUSABLE = "unusable"
    FORCED = "forced"  # the user requested to make it again; its token is the id of that run


class Product(SQLModel, table=True):
    """The product of a unit of a stage, or the reason why the unit could not be used.

    `fingerprint` identifies the inputs. Units that read the product depend on `token`: the fingerprint, or a digest of
    the contents where the stage gives one. With a digest, a product that is made again and is equal causes no work.
    """

    __tablename__ = "products"

    stage: str = Field(primary_key=True)
    unit: str = Field(primary_key=True)
    fingerprint: str
    fingerprint_rule: int = FINGERPRINT_RULE
    token: str
    components: dict[str, Any] = Field(sa_type=sa.JSON)
    state: str
    reason: str = ""
    path: str = ""
    run_id: int | None = None
    seconds: float = 0.0


class ProductFile(SQLModel, table=True):
    """A file of a product, as it was written; `path` is relative to the workdir.

    `stage` and `unit` made it, and make it again. A later stage that rewrites the file changes `size` and `digest`
    alone. Files of products that an earlier version made have no row, until they are found to be damaged.
    """

    __tablename__ = "product_files"
    __table_args__ = (sa.Index("ix_product_files_stage_unit", "stage", "unit"),)

    path: str = Field(primary_key=True)
    stage: str
    unit: str
    size: int | None = Field(default=None, sa_type=sa.BigInteger)  # bytes
    digest: str = ""
    damage: str = ""  # what a reader found wrong with it


class DoubtRow(SQLModel, table=True):
    """A doubt about what a unit made; it goes with the product. Those of the project as a whole are of no unit."""

    __tablename__ = "doubts"

    stage: str = Field(primary_key=True)
    unit: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    subject: str = Field(default="", primary_key=True)
    severity: str
    text: str
    remedy: str = ""
    value: float | None = None
    frame_id: int | None = Field(default=None, index=True)


class DecidedSetting(SQLModel, table=True):
    """A setting that frames decided for an instrument; for all, where `instrument` is empty.

    `value` is as in the project file, null where the frames decide nothing. It holds until it is asked for again once
    `frozen`: it rests on as many frames as its rule wants. Frames up to the id `tested_to` were compared with it since;
    `disagreement` says in what they differ. `doubt` is what the rule finds doubtful about the settings as they are.
    """

    __tablename__ = "settings"

    instrument: str = Field(primary_key=True)
    setting: str = Field(primary_key=True)
    value: Any = Field(default=None, sa_type=sa.JSON, nullable=True)
    rule: str = ""
    rule_digest: str = ""
    why: str = ""
    alternatives: str = ""
    frames: int = 0
    wanted: int = 0
    frozen: bool = False
    tested_to: int = 0
    disagreement: str = ""
    doubt: str = ""


class RunOutcome(enum.StrEnum):
    """How a run ended."""

    RUNNING = "running"
    SUCCESS = "success"
    PARTLY = "finished with unusable inputs"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    KILLED = "killed"


class Run(SQLModel, table=True):
    """One call of ``lcf run``."""

    __tablename__ = "runs"

    id: int | None = Field(default=None, primary_key=True)
    started: dt.datetime
    finished: dt.datetime | None = None
    version: str = ""
    stages: str = ""
    outcome: str = RunOutcome.RUNNING.value
    units_done: int = 0
    units_unusable: int = 0
    units_failed: int = 0
    message: str = ""
    settings: str = ""


class Change(SQLModel, table=True):
    """How often a table changed, or under ``products/<stage>`` the products of a stage; triggers count."""

    __tablename__ = "changes"

    name: str = Field(primary_key=True)
    count: int = Field(default=0, sa_type=sa.BigInteger)


class Plan(SQLModel, table=True):
    """What the last run's plan of a stage found, where nothing was left to be done.

    It holds while `basis` does: a digest of all that the stage's units are listed from.
    """

    __tablename__ = "plans"

    stage: str = Field(primary_key=True)
    basis: str
    units: int
    made: int
    unusable: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    noted: Any = Field(default=None, sa_type=sa.JSON, nullable=True)
