"""What a project's light curves say of the held-out stars: their levels, and how the field's light varies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col, select

from lcframework.injections.asking import Asked
from lcframework.injections.drawing_psf import StarFit
from lcframework.injections.light import InstrumentBand
from lcframework.injections.response import Response, response_by
from lcframework.injections.star_light import HeldOutStars
from lcframework.injections.transparency import WIDE, Transparency, measure_transparency, slope_width
from lcframework.storage.queries import active_stars
from lcframework.storage.tables import StarFlux, StarInFrame, StarLevel

#: So many stars, or fewer, say nothing of a plane.
_FEWEST_FOR_SLOPES = 3


def held_out_in_frames(session: Session, asked: Asked) -> dict[int, HeldOutStars]:
    """Return the held-out stars of each frame, where they are usable, with their levels.

    How much the transparency varies over the field their fluxes in the light curve say, of all its frames together; the
    detector's response all stars.
    """
    names = {star: row.name for (own, star), row in active_stars(session).items() if own == asked.field}
    levels = {
        (row.instrument, row.band, row.gaia_id): row.level
        for row in session.exec(
            select(StarLevel).where(StarLevel.combined_footprint_hash == asked.field, StarLevel.comment == "")
        )
    }
    groups = {f.id: (f.instrument, f.band) for f in asked.frames}
    found: dict[int, list[tuple[str, float, float, float]]] = {i: [] for i in groups}
    responses = _responses(session, asked)
    slopes = _slopes(session, asked, names, levels, responses)
    rows = session.exec(
        select(StarInFrame).where(
            StarInFrame.combined_footprint_hash == asked.field,
            StarInFrame.usable,
            col(StarInFrame.frame_id).in_(groups),
        )
    )
    for row in rows:
        if names.get(row.gaia_id) in asked.held_out:
            level = levels.get((*groups[row.frame_id], row.gaia_id), np.nan)
            found[row.frame_id].append((row.gaia_id, row.x, row.y, level))

    def stars(frame: int, values: list[tuple[str, float, float, float]]) -> HeldOutStars:
        x, y, level = np.array([v[1:] for v in values], float).reshape(-1, 3).T
        group = groups[frame]
        return HeldOutStars(x, y, level, responses[group], tuple(v[0] for v in values), slopes[group])

    return {i: stars(i, values) for i, values in found.items()}


def _slopes(
    session: Session,
    asked: Asked,
    names: Mapping[str, str],
    levels: Mapping[tuple[str, str, str], float],
    responses: Mapping[InstrumentBand, Response],
) -> dict[InstrumentBand, float]:
    """Return how much the transparency of each group's frames varies over the field."""
    rows = session.exec(
        select(StarFlux).where(
            StarFlux.combined_footprint_hash == asked.field, col(StarFlux.frame_id).in_([f.id for f in asked.frames])
        )
    )
    fits: dict[int, list[tuple[str, StarFit]]] = defaultdict(list)
    for row in rows:
        if names.get(row.gaia_id) in asked.held_out and row.flux > 0:
            fits[row.frame_id].append((row.gaia_id, StarFit(row.x, row.y, row.flux, row.noise)))
    found: dict[InstrumentBand, list[Transparency]] = {group: [] for group in asked.limits}
    for f in asked.frames:
        group, own = (f.instrument, f.band), fits.get(f.id, [])
        level = np.array([levels.get((*group, star), np.nan) for star, _ in own])
        if np.isfinite(level).sum() > _FEWEST_FOR_SLOPES:
            x, y = np.array([(fit.x, fit.y) for _, fit in own]).T
            expected = level * responses[group].at(x, y)
            found[group].append(measure_transparency([fit for _, fit in own], expected, responses[group].frame, WIDE))
    return {group: slope_width(frames) for group, frames in found.items()}


def _responses(session: Session, asked: Asked) -> dict[InstrumentBand, Response]:
    """Return the response of the detector that the normalization of each group found."""
    f, r, m, n, s = (SQLModel.metadata.tables[t] for t in (
        "frames", "star_residuals", "star_flux_in_frame", "normalization_coefficients", "star_levels",
    ))  # fmt: skip
    same = [t.c.combined_footprint_hash == asked.field for t in (r, m, n, s)]
    query = (
        sa.select(f.c.instrument, f.c.band, m.c.x, m.c.y,
                  m.c.flux / (1.0 + r.c.residual) / s.c.level / n.c.coefficient)
        .join_from(f, r, r.c.frame_id == f.c.id)
        .join(m, sa.and_(m.c.frame_id == f.c.id, m.c.gaia_id == r.c.gaia_id))
        .join(n, n.c.frame_id == f.c.id)
        .join(s, sa.and_(s.c.gaia_id == r.c.gaia_id, s.c.instrument == f.c.instrument, s.c.band == f.c.band))
        .where(*same, r.c.used, r.c.residual > -0.5, s.c.level > 0, n.c.coefficient > 0)
        .where(f.c.id.in_([frame.id for frame in asked.frames]))
    )  # fmt: skip
    rows: dict[InstrumentBand, list[tuple[float, ...]]] = defaultdict(list)
    for instrument, band, *values in session.execute(query):
        rows[instrument, band].append(tuple(values))
    out = {}
    for frame in asked.frames:
        group, shape = (frame.instrument, frame.band), (int(frame.height), int(frame.width))
        if group not in out:
            x, y, expected = np.array(rows.get(group, []), float).reshape(-1, 3).T
            out[group] = response_by(x, y, expected, shape)
    return out
