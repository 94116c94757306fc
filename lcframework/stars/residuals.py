"""What a normalization leaves of the stars' fluxes: residuals, the errors they should have, and what was not used."""

from __future__ import annotations

from typing import Any

import numpy as np

from lcframework.types import Bools, Floats, FluxMatrix, NormalizationSolution

#: Of a flux's variance, no less is left to its residual: a star that is alone in its frame has none.
_LEAST = 1e-3


def extra_scatter(solution: NormalizationSolution) -> list[float]:
    """Return the scatter (f,) of sources beyond their errors, relative; 0 where the plugin says nothing of it."""
    if solution.extra_scatter is None:
        return [0.0] * len(solution.coefficient)
    return [float(v) for v in np.nan_to_num(solution.extra_scatter)]


def residuals(solution: NormalizationSolution, fluxes: FluxMatrix) -> tuple[Floats, Floats]:
    """Return the fluxes' relative residuals (f, n), and the standard deviations that they should have.

    The variance of a flux is that of its measurement and the star's intrinsic one, V. A flux that took part in its
    frame's coefficient and its star's level, with the weight 1/V, is drawn to them by its share of either's weight. One
    that had no part in them has their variances on top of its own.
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
    weight = np.where(used, 1.0 / np.where(used, own, 1.0), 0.0)
    free = np.ones_like(weight)
    for axis in (0, 1):
        total = weight.sum(axis=axis, keepdims=True)
        free *= 1.0 - weight / np.where(total > 0, total, 1.0)
    return residual, np.sqrt(np.where(used, own * np.maximum(free, _LEAST), own + means))


def residual_rows(
    solution: NormalizationSolution, fluxes: FluxMatrix, stars: list[str], good_frames: Bools, good: Bools
) -> list[tuple[int, dict[str, Any]]]:
    """Return rows of ``star_residuals``, each with its frame's index.

    Parameters
    ----------
    solution, fluxes
        What came out, and all that was measured (f, n).
    stars : list of str
        Their identifiers.
    good_frames, good : bool arrays (f,), (f, n)
        Frames and fluxes that the selections keep.
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
