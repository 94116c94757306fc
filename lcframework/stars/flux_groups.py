"""The star fluxes of each field, instrument and band: what the normalization solves, and which of them there are."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import attrs
import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, SQLModel, select

from lcframework.stars.records import NOTHING, judged, no_point_source
from lcframework.storage.queries import FrameRow, active_stars, frames_with_regions
from lcframework.storage.tables import CombinedFootprint, PsfRow, RoiInFrame, StarFlux, StarLevel
from lcframework.types import Floats, FluxMatrix
from lcframework.work.keys import FieldGroupKey


@attrs.frozen(eq=False)
class FluxGroup:
    """All star fluxes of one field, instrument and band."""

    field: str
    instrument: str
    band: str
    frame_ids: list[int]
    star_ids: list[str]
    fluxes: FluxMatrix
    flux_chi2: Floats  # (f, n)
    psf_chi2: Floats  # (f,)
    gauge: Floats  # (n,) levels that fix the scale; nan for stars without one
    no_stars: dict[int, str] = attrs.field(factory=dict)  # index of a star whose stamps show no single star -> reason
    regions: list[str] = attrs.field(factory=list)  # those of ``fluxes.region_xy``; none where there are not several

    @property
    def key(self) -> FieldGroupKey:
        """The unit key."""
        return FieldGroupKey(self.field, self.instrument, self.band)


@attrs.frozen
class Outline:
    """Which frames and stars a group has, without their fluxes.

    Attributes
    ----------
    frame_ids : list of int
        In the order of time.
    star_ids : list of str
        In their order.
    no_stars : dict
        By the identifiers of stars whose stamps show no single star, the reason.
    """

    key: FieldGroupKey
    frame_ids: list[int]
    star_ids: list[str]
    no_stars: dict[str, str]


def outlines(session: Session) -> list[Outline]:
    """Return the outline of each (field, instrument, band) that has fluxes of stars in use, found by the database."""
    frames, active = frames_with_regions(session), active_stars(session)
    f, m, s = (SQLModel.metadata.tables[n] for n in ("frames", "star_flux_in_frame", "stars"))
    of_field = (m.c.combined_footprint_hash, m.c.gaia_id)
    found: dict[FieldGroupKey, tuple[list[int], list[str]]] = {}
    stars = sa.select(*of_field, f.c.instrument, f.c.band).join_from(m, f, m.c.frame_id == f.c.id).distinct()
    for field, star, instrument, band in session.execute(stars.where(f.c.roi_in_footprint, ~f.c.eliminated)):
        if (field, star) in active:
            found.setdefault(FieldGroupKey(field, instrument, band), ([], []))[1].append(star)
    c = SQLModel.metadata.tables["combined_footprint"]
    same = (m.c.combined_footprint_hash == s.c.combined_footprint_hash, m.c.gaia_id == s.c.gaia_id)
    flux = sa.exists().where(*same, m.c.frame_id == f.c.id, m.c.combined_footprint_hash == c.c.hash, s.c.active)
    pairs = sa.select(f.c.id, c.c.hash).join_from(f, c, sa.true())
    for frame_id, field in session.execute(pairs.where(c.c.active, flux)):
        if (frame := frames.get(frame_id)) is not None:
            found.setdefault(FieldGroupKey(field, frame.instrument, frame.band), ([], []))[0].append(frame_id)
    out = []
    for key, (ids, names) in sorted(found.items(), key=lambda item: attrs.astuple(item[0])):
        ids.sort(key=lambda i: _by_time(frames[i]))
        out.append(Outline(key, ids, sorted(names), _no_stars(session, key.field, ids, names)))
    return out


def _by_time(frame: FrameRow) -> tuple[float, int]:
    return frame.mjd or 0.0, frame.id


def _no_stars(session: Session, field: str, frames: list[int], stars: list[str]) -> dict[str, str]:
    """Return which stars are no single stars, with the reason, by frames that were measured.

    Frames that are not measured yet must not change the result.
    """
    found = judged(session, set(frames))
    verdicts = {star: no_point_source(found.get((field, star), NOTHING)) for star in stars}
    return {star: why for star, why in verdicts.items() if why}


#: A star's flux in a frame: star, frame, flux, its noise, chi2, x, y.
_Flux = tuple[str, int, float, float, float, float, float]
_M = SQLModel.metadata.tables[str(StarFlux.__tablename__)].c
_FLUXES = sa.select(
    _M.combined_footprint_hash, _M.gaia_id, _M.frame_id, _M.flux,
    sa.func.coalesce(_M.flux_noise, _M.flux_uncertainty), _M.chi2, _M.x, _M.y,
)  # fmt: skip


def groups(session: Session) -> list[FluxGroup]:
    """Return the group of each (field, instrument, band) that has star fluxes."""
    frames = frames_with_regions(session)
    active = active_stars(session)
    psfs = session.exec(select(PsfRow.frame_id, PsfRow.combined_footprint_hash, PsfRow.chi2))
    chi2 = {(frame, field): value for frame, field, value in psfs}
    levels = {
        (r.combined_footprint_hash, r.instrument, r.band, r.gaia_id): r.gauge_level
        for r in session.exec(select(StarLevel))
    }
    found: dict[tuple[str, str, str], list[_Flux]] = {}
    group_of = {i: (f.instrument, f.band) for i, f in frames.items()}
    for field, star, *rest in session.execute(_FLUXES):
        if (group_of_frame := group_of.get(rest[0])) is not None and (field, star) in active:
            found.setdefault((field, *group_of_frame), []).append((star, *rest))
    inside = _region_positions(session)
    regions = {f.hash: sorted(f.rois) for f in session.exec(select(CombinedFootprint))}
    out = []
    for (field, instrument, band), rows in sorted(found.items()):
        ids = sorted({row[1] for row in rows}, key=lambda i: _by_time(frames[i]))
        stars = sorted({row[0] for row in rows})
        gauge = np.array([levels.get((field, instrument, band, s)) or np.nan for s in stars])
        psf = np.array([chi2.get((i, field), np.nan) for i in ids])
        shape = (frames[ids[0]].height or 0, frames[ids[0]].width or 0)
        matrix, flux_chi2 = _matrix(rows, ids, stars, shape)
        names = regions.get(field, [])
        there = np.array([[inside[i].get(name, _NOWHERE) for name in names] for i in ids]).reshape(len(ids), -1, 2)
        matrix = _with_regions(matrix, there)
        against = _no_stars(session, field, ids, stars)
        no_stars = {j: against[star] for j, star in enumerate(stars) if star in against}
        several = names if matrix.region_xy is not None else []
        out.append(FluxGroup(field, instrument, band, ids, stars, matrix, flux_chi2, psf, gauge, no_stars, several))
    return out


#: The place of a region that a frame does not show.
_NOWHERE = (float("nan"), float("nan"))


def _with_regions(matrix: FluxMatrix, places: Floats) -> FluxMatrix:
    """Return fluxes with the pixels at which coefficients are evaluated: amid the regions (f, r, 2), and at each."""
    shown = np.isfinite(places).all(axis=-1, keepdims=True)
    count = shown.sum(axis=1)
    if not (count > 0).all():
        return matrix
    reference = np.where(shown, places, 0.0).sum(axis=1) / count
    return attrs.evolve(matrix, reference_xy=reference, region_xy=places if places.shape[1] > 1 else None)


def _region_positions(session: Session) -> dict[int, dict[str, tuple[float, float]]]:
    """Return the pixels of the regions that each frame shows."""
    inside: dict[int, dict[str, tuple[float, float]]] = defaultdict(dict)
    places = select(RoiInFrame.frame_id, RoiInFrame.roi, RoiInFrame.x, RoiInFrame.y)
    for frame_id, roi, x, y in session.exec(places.where(RoiInFrame.roi_in_footprint)):
        if x is not None and y is not None:
            inside[frame_id][roi] = (x, y)
    return inside


def _matrix(rows: list[_Flux], ids: list[int], stars: list[str], shape: tuple[int, int]) -> tuple[FluxMatrix, Any]:
    row_of, column_of = {f: i for i, f in enumerate(ids)}, {s: j for j, s in enumerate(stars)}
    at = [row_of[r[1]] for r in rows], [column_of[r[0]] for r in rows]
    values = np.full((len(ids), len(stars), 5), np.nan)  # flux, error, chi2, x, y
    values[at] = [r[2:] for r in rows]
    flux, error, chi2 = (np.ascontiguousarray(values[..., k]) for k in range(3))
    return FluxMatrix(flux, error, np.ascontiguousarray(values[..., 3:]), shape), chi2
