"""A start for the ensemble that outliers do not move."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from lcframework.types import Bools, Floats
from plugins_builtin.engine.normalization.flux_table import EnsembleState, FluxTable
from plugins_builtin.engine.normalization.normal_equations import gauged_inverse
from plugins_builtin.engine.robust import masked_median, masked_scale


def robust_start(table: FluxTable) -> EnsembleState:
    """Return a start that outliers do not move: least absolute deviations of the logarithms of the clear fluxes.

    Frames and stars without a clear flux (3 sigma) follow from the others' levels and coefficients. Stars without
    signal have a log level of ``-inf``.
    """
    sigma = np.sqrt(table.variance)
    clear = table.valid & (table.flux > 3.0 * sigma)
    log_flux = np.log(np.where(clear, table.flux, 1.0))
    coefficient, level = _least_absolute(log_flux, clear)
    for _ in range(3):
        coefficient = np.where(np.isnan(coefficient), _frame_average(table, level), coefficient)
        level = np.where(np.isnan(level), _star_average(table, coefficient), level)
    known = np.isfinite(coefficient)[:, None] & np.isfinite(level) & (level > 0)
    used = table.valid & known
    model = np.where(used, coefficient[:, None] * level, 1.0)
    relative = np.where(used, (table.flux - model) / model, 0.0)
    noise = np.where(used, table.variance / model**2, 0.0)
    star_variance = masked_scale(relative, used, 0) ** 2 - masked_median(noise, used, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_level = np.log(np.where(level > 0, level, 0.0))
    terms = np.zeros((*coefficient.shape, table.basis.shape[-1]))
    terms[:, 0] = np.nan_to_num(coefficient)
    return EnsembleState(
        terms=terms,
        prior=table.prior,
        response=np.zeros(table.shared.shape[-1]),
        response_prior=table.prior,
        log_level=log_level,
        star_variance=np.maximum(np.nan_to_num(star_variance), 0.0),
        frame_variance=np.zeros(len(coefficient)),
        used=used,
    )


def _least_absolute(
    log_flux: Float[Floats, "f n"], clear: Bool[Bools, "f n"]
) -> tuple[Float[Floats, " f"], Float[Floats, " n"]]:
    """Return coefficients and levels of least absolute deviation in the logarithm; nan without a clear flux."""
    stars = clear.any(axis=0)
    frames = clear.any(axis=1)
    level = np.nan_to_num(masked_median(log_flux, clear, 0))
    coefficient = np.nan_to_num(masked_median(log_flux - level, clear, 1))
    for _ in range(12):
        residual = log_flux - coefficient[:, None] - level
        # Reweighting by 1/|r| minimises the sum of |r|; the floor keeps the weights finite.
        weight = np.where(clear, 1.0 / np.maximum(np.abs(residual), 0.01), 0.0)
        in_frame = np.where(frames, weight.sum(axis=1), 1.0)
        in_star = weight.sum(axis=0)
        share = weight / in_frame[:, None]
        gradient = np.sum(weight * residual, axis=1)
        right = np.sum(weight * residual, axis=0) - share.T @ gradient
        step = gauged_inverse(np.diag(in_star) - weight.T @ share, in_star) @ right
        level = level + step
        coefficient = coefficient + gradient / in_frame - share @ step
    return np.where(frames, np.exp(coefficient), np.nan), np.where(stars, np.exp(level), np.nan)


def _frame_average(table: FluxTable, level: Float[Floats, " n"]) -> Float[Floats, " f"]:
    """Return the frames' coefficients by least squares, given levels (nan: unknown)."""
    use = table.valid & np.isfinite(level)
    weight = np.where(use, 1.0 / table.variance, 0.0)
    known = np.nan_to_num(level)
    bottom = np.sum(weight * known**2, axis=1)
    return np.where(bottom > 0, np.sum(weight * known * table.flux, axis=1) / np.where(bottom > 0, bottom, 1.0), np.nan)


def _star_average(table: FluxTable, coefficient: Float[Floats, " f"]) -> Float[Floats, " n"]:
    """Return the stars' levels by least squares, given coefficients (nan: unknown); nan below 3 sigma."""
    use = table.valid & np.isfinite(coefficient)[:, None]
    weight = np.where(use, 1.0 / table.variance, 0.0)
    known = np.nan_to_num(coefficient)[:, None]
    bottom = np.sum(weight * known**2, axis=0)
    level = np.sum(weight * known * table.flux, axis=0) / np.where(bottom > 0, bottom, 1.0)
    return np.where((bottom > 0) & (level * np.sqrt(bottom) > 3.0), level, np.nan)
