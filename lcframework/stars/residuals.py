"""Residuals of the stars' fluxes after normalization, with their expected errors and the reasons for exclusion."""

from __future__ import annotations

from typing import Any

import numpy as np

from lcframework.types import Bools, Floats, FluxMatrix, NormalizationSolution

#: Least share of a flux's variance that its residual has; for the only star of a frame it would be 0.
_LEAST = 1e-3


def extra_scatter(solution: NormalizationSolution) -> list[float]:
    """Return the relative scatter (f,) of sources beyond their errors; 0 where the plugin does not give it."""
    if solution.extra_scatter is None:
        return [0.0] * len(solution.coefficient)
    return [float(v) for v in np.nan_to_num(solution.extra_scatter)]


def residuals(solution: NormalizationSolution, fluxes: FluxMatrix) -> tuple[Floats, Floats]:
    """Return the relative residuals (f, n) of the fluxes, and their expected standard deviations (f, n).

    The variance V of a flux is the sum of the variance of its measurement and the star's intrinsic variance. A flux
    that was used for the frame's coefficient and the star's level, with the weight 1/V, has a smaller residual, by its
    leverage on these: its share of their weights where the solution does not say. For a flux that was not used, the
    variances of coefficient and level are added.
    """
    expected = solution.coefficient[:, None] * solution.level
    if solution.model is not None:
        expected = np.where(np.isfinite(solution.model), solution.model, expected)
    with np.errstate(invalid="ignore", divide="ignore"):
        residual = fluxes.flux / expected - 1.0
        own = (fluxes.error / expected) ** 2 + np.nan_to_num(solution.intrinsic_scatter) ** 2
        means = ((solution.coefficient_uncertainty / solution.coefficient) ** 2)[:, None]
        means = means + (solution.level_error / solution.level) ** 2
    used = solution.used & np.isfinite(own) & (own > 0)
    if solution.leverage is not None:
        free = 1.0 - np.nan_to_num(solution.leverage)
    else:
        weight = np.where(used, 1.0 / np.where(used, own, 1.0), 0.0)
        free = (1.0 - share_of_weight(weight, 0)) * (1.0 - share_of_weight(weight, 1))
    return residual, np.sqrt(np.where(used, own * np.maximum(free, _LEAST), own + means))


def share_of_weight(weight: Floats, axis: int) -> Floats:
    """Return each weight's share of the sum along an axis; 0 where that is 0."""
    total = weight.sum(axis=axis, keepdims=True)
    return np.asarray(weight / np.where(total > 0, total, 1.0))


def residual_rows(
    solution: NormalizationSolution, fluxes: FluxMatrix, stars: list[str], good_frames: Bools, good: Bools
) -> list[tuple[int, dict[str, Any]]]:
    """Return rows of ``star_residuals``, each with the index of its frame.

    Parameters
    ----------
    solution, fluxes
        The normalization, and all measured fluxes (f, n).
    stars : list of str
        The identifiers of the stars.
    good_frames, good : bool arrays (f,), (f, n)
        True for frames and fluxes that pass the selections.
    """
    residual, error = residuals(solution, fluxes)
    rows = []
    for i, j in zip(*np.nonzero(np.isfinite(residual) & np.isfinite(error)), strict=True):
        used = bool(solution.used[i, j])
        comment = "" if used else _reason(solution.rejected.get(int(j)), bool(good_frames[i]), bool(good[i, j]))
        row = {"gaia_id": stars[j], "residual": float(residual[i, j]), "residual_error": float(error[i, j])}
        rows.append((int(i), {**row, "used": used, "comment": comment}))
    return rows


def _reason(rejected: str | None, good_frame: bool, good: bool) -> str:
    if rejected is not None:
        return "the star is left out (star_levels.comment)"
    if not good_frame:
        return "[photometry] psf_chi2 leaves out the frame"
    return "does not fit the others (sigma_clip)" if good else "[normalization] flux_chi2 leaves it out"
