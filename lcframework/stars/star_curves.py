"""Light curves of a field's reference stars, each by the coefficients that the other stars give.

A star that takes part in a frame's coefficient pulls it towards its own flux, and looks steadier than it is. So its own
flux is taken out of the coefficient again: with its leverage h on what is expected of it, and its relative residual r,
the others expect ``1 - r h / (1 - h)`` times as much. That is exact for all that is linear in the fluxes: a weighted
mean, of which a flux has the share h = w / sum(w) of the weights, and a plane over the field, on which it has more.
Fluxes that took no part stay as they are.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, col

from lcframework.stars.residuals import share_of_weight
from lcframework.storage.tables import NormalizationCoefficient, StarFlux, StarLevel, StarResidual
from lcframework.types import Bools, Floats

#: Where a star has more leverage on a frame, the others do not tell the coefficient.
_ALONE = 0.999


@attrs.frozen(eq=False)
class StarCurves:
    """The stars of one field, instrument and band.

    Attributes
    ----------
    frames : list of int
        The frames' ids.
    stars : list of str
        The stars' identifiers in the catalogue.
    flux, d_flux, d_flux_fit : (frame, star) arrays
        Normalised fluxes, e-/s, their whole random errors, and the photometry's part of these; nan where not measured.
    x, y : (frame, star) arrays
        Where the star is in the imported frame, pixels.
    intrinsic : (star,) array
        Scatter beyond the errors, relative.
    comment : list of str
        Why the normalization leaves a star out; empty where it takes part.
    """

    frames: list[int]
    stars: list[str]
    flux: Floats
    d_flux: Floats
    d_flux_fit: Floats
    x: Floats
    y: Floats
    intrinsic: Floats
    comment: list[str]


def star_curves(session: Session, field: str, instrument: str, band: str) -> StarCurves:
    """Return the light curves of the stars of a field, in the frames that have a coefficient.

    Parameters
    ----------
    session : Session
        On the project's database.
    field : str
        The hash of the field of reference stars.
    instrument, band : str
        Whose frames.
    """
    where = {"combined_footprint_hash": field, "instrument": instrument, "band": band}
    levels = session.execute(
        sa.select(*_columns(StarLevel, "gaia_id", "level", "intrinsic_scatter", "comment")).filter_by(**where)
    ).all()
    coefficients = session.execute(
        sa.select(
            *_columns(NormalizationCoefficient, "frame_id", "coefficient", "coefficient_uncertainty", "extra_scatter")
        )
        .filter_by(**where)
        .where(col(NormalizationCoefficient.coefficient) > 0)
        .order_by(col(NormalizationCoefficient.frame_id))
    ).all()
    frames, stars = [c[0] for c in coefficients], [s[0] for s in levels]
    measured = _measured(session, where, frames, stars)
    coefficient, its_error, extra = np.array([c[1:] for c in coefficients], float).reshape(-1, 3).T
    level, intrinsic = np.array([s[1:3] for s in levels], float).reshape(-1, 2).T
    with np.errstate(invalid="ignore", divide="ignore"):
        # A normalization may expect other fluxes than coefficient times level; they follow from the residual.
        error = np.abs(measured["flux_uncertainty"] * (1 + measured["residual"]) / measured["flux"])
        sigma, used = np.hypot(error, intrinsic), measured["used"] > 0
        share = leverage_on_frame(sigma, measured["residual_error"], used)
        ratio, expected = by_the_others(measured["residual"], sigma, share)
        of_frame = (its_error / coefficient)[:, None] / np.sqrt(1 - share)
        common = np.hypot(np.maximum(expected, of_frame), extra[:, None])
    return StarCurves(
        frames, stars, level * ratio, level * np.hypot(error, common), level * error, measured["x"], measured["y"],
        intrinsic, [s[3] for s in levels],
    )  # fmt: skip


def leverage_on_frame(sigma: Floats, residual_error: Floats, used: Bools) -> Floats:
    """Return each flux's leverage on what its frame leads to expect, (frame, star); 0 where it took no part.

    A residual's variance is that of its flux, less the leverage of the flux on its frame and on its star's level. The
    latter is its share of the star's weights. The former is at least its share of the frame's.

    Parameters
    ----------
    sigma : (frame, star) array
        Standard deviations of the fluxes, relative, whose inverse squares were the weights.
    residual_error : (frame, star) array
        Those of their residuals.
    used : (frame, star) array of bool
        Which fluxes took part.
    """
    known = used & np.isfinite(residual_error) & (sigma > 0)
    safe = np.where(known, sigma, 1.0)
    weight = np.where(known, 1 / safe**2, 0.0)
    of_star, of_frame = share_of_weight(weight, 0), share_of_weight(weight, 1)
    told = known & (of_star < _ALONE)
    whole = 1 - (np.where(told, residual_error, 0.0) / safe) ** 2 / np.where(told, 1 - of_star, 1.0)
    return np.where(told, np.clip(whole, of_frame, 1.0), of_frame)


def by_the_others(residual: Floats, sigma: Floats, leverage: Floats) -> tuple[Floats, Floats]:
    """Return fluxes over what the others lead to expect, and the relative error of that.

    Parameters
    ----------
    residual : (frame, star) array
        Flux over what all stars lead to expect, less 1.
    sigma : (frame, star) array
        Standard deviations of the fluxes, relative.
    leverage : (frame, star) array
        Of each flux on what is expected of it; 0 where it took no part. Where it is 1 the answer is nan.
    """
    left = np.where(leverage < _ALONE, 1 - leverage, np.nan)
    return (1 + residual) / (1 - residual * leverage / left), sigma * np.sqrt(leverage / left)


def _columns(table: Any, *names: str) -> list[Any]:
    return [col(getattr(table, name)) for name in names]


_OF_RESIDUAL = ("residual", "residual_error", "used")
_OF_FLUX = ("flux", "flux_uncertainty", "x", "y")


def _measured(session: Session, where: dict[str, str], frames: list[int], stars: list[str]) -> dict[str, Floats]:
    """Return what the tables of fluxes and residuals hold, (frame, star)."""
    f, r = StarFlux, StarResidual
    query = (
        sa.select(*_columns(r, "frame_id", "gaia_id", *_OF_RESIDUAL), *_columns(f, *_OF_FLUX))
        .join(
            f,
            sa.and_(
                col(f.combined_footprint_hash) == col(r.combined_footprint_hash),
                col(f.frame_id) == col(r.frame_id),
                col(f.gaia_id) == col(r.gaia_id),
            ),
        )
        .where(*(col(getattr(r, name)) == value for name, value in where.items()))
    )
    row_of, column_of = {i: k for k, i in enumerate(frames)}, {s: k for k, s in enumerate(stars)}
    names = (*_OF_RESIDUAL, *_OF_FLUX)
    out = {name: np.full((len(frames), len(stars)), np.nan) for name in names}
    for frame, star, *values in session.execute(query):
        if frame in row_of and star in column_of:
            for name, value in zip(names, values, strict=True):
                out[name][row_of[frame], column_of[star]] = value
    return out
