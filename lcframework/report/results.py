"""The contents of a project's database, read once for the plots and the report."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import attrs
from astropy.timeseries import TimeSeries
from sqlmodel import Session, SQLModel, col, select

from lcframework.project import Project
from lcframework.report.comparison import ComparisonStars, comparison_stars
from lcframework.stars.flux_groups import groups
from lcframework.stars.records import StarKey, StarRecord, star_records
from lcframework.storage.connection import FILE_NAME, may_exist
from lcframework.storage.tables import (
    AbsoluteZeropoint,
    CatalogStarPhotometry,
    CombinedFootprint,
    EstimatorWeights,
    Frame,
    FrameFootprint,
    NormalizationCoefficient,
    PsfRow,
    RoiInFrame,
    Run,
    Star,
    StarFlux,
    StarLevel,
    StarResidual,
)
from lcframework.types import LcfError
from lcframework.work import Ledger


@attrs.frozen(eq=False)
class Results:
    """Rows of a project's tables, and the comparison stars' curves by field, instrument and band."""

    frames: dict[int, Frame]
    rois: list[RoiInFrame]
    footprints: dict[int, FrameFootprint]
    fields: list[CombinedFootprint]  # those in use
    stars: dict[StarKey, Star]  # those in use
    psfs: list[PsfRow]
    fluxes: list[StarFlux]
    coefficients: list[NormalizationCoefficient]
    levels: list[StarLevel]
    zeropoints: list[AbsoluteZeropoint]
    magnitudes: list[CatalogStarPhotometry]
    runs: list[Run]
    ledger: Ledger
    comparison: list[ComparisonStars]
    light_curves: dict[str, TimeSeries]  # by region; only regions with a light curve
    estimators: list[EstimatorWeights] = attrs.field(factory=list)
    records: dict[StarKey, StarRecord] = attrs.field(factory=dict)  # of the stars in use

    def used(self) -> list[Frame]:
        """Return the frames that contain a region and are not eliminated, in the order of time."""
        frames = [f for f in self.frames.values() if f.roi_in_footprint and not f.eliminated]
        return sorted(frames, key=lambda f: (f.mjd or 0.0, f.id or 0))


def read_results(project: Project) -> Results:
    """Read a project's database.

    Raises
    ------
    LcfError
        Where there is no database yet.
    """
    if not may_exist(project.config.project.database, project.workdir):
        raise LcfError(
            f"there is no {FILE_NAME} in {project.workdir} yet: `lcf run {project.config.path.name}` comes first"
        )
    with project.session() as session:
        fields = [f for f in _rows(session, CombinedFootprint) if f.active]
        hashes = {f.hash for f in fields}
        levels = [r for r in _rows(session, StarLevel) if r.combined_footprint_hash in hashes]
        coefficients = [r for r in _rows(session, NormalizationCoefficient) if r.combined_footprint_hash in hashes]
        stars = {(s.combined_footprint_hash, s.gaia_id): s for s in _rows(session, Star) if s.active}
        frames = {f.id: f for f in session.exec(select(Frame).order_by(col(Frame.id))) if f.id is not None}
        residuals = _rows(session, StarResidual)
        curves = [
            comparison_stars(group, frames, stars, coefficients, levels, residuals)
            for group in groups(session)
            if group.field in hashes
        ]
        results = Results(
            frames=frames,
            rois=_rows(session, RoiInFrame),
            footprints={f.frame_id: f for f in _rows(session, FrameFootprint)},
            fields=fields,
            stars=stars,
            psfs=[r for r in _rows(session, PsfRow) if r.combined_footprint_hash in hashes],
            fluxes=[r for r in _rows(session, StarFlux) if r.combined_footprint_hash in hashes],
            coefficients=coefficients,
            levels=levels,
            zeropoints=[r for r in _rows(session, AbsoluteZeropoint) if r.combined_footprint_hash in hashes],
            magnitudes=_rows(session, CatalogStarPhotometry),
            runs=_rows(session, Run),
            ledger=Ledger.read(session),
            comparison=curves,
            light_curves=_light_curves(project),
            estimators=[r for r in _rows(session, EstimatorWeights) if r.combined_footprint_hash in hashes],
            records=star_records(session, {i for i, f in frames.items() if not f.eliminated}),
        )
        session.expunge_all()
    return results


def _light_curves(project: Project) -> dict[str, TimeSeries]:
    out = {}
    for roi in project.config.roi:
        with contextlib.suppress(LcfError):
            out[roi] = project.light_curve(roi)
    return out


def _rows(session: Session, model: type[SQLModel]) -> list:  # type: ignore[type-arg]
    rows: Sequence[SQLModel] = session.exec(select(model)).all()
    return list(rows)
