"""A normalization for lcframework."""

from __future__ import annotations

import warnings
from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import positive, whole_number
from lcframework.types import FitState, FitStatus, FluxMatrix, NormalizationSolution


@attrs.frozen
class PluginClass:
    """Medians of the stars' fluxes over their levels, frame by frame, and of fluxes over coefficients, star by star."""

    results_version: ClassVar[int] = 1  # raise it when answers change

    rounds: int = attrs.field(default=20, validator=whole_number(1, 1000))  # of medians in turn
    clip: float = attrs.field(default=0.3, validator=positive)  # relative deviation beyond which a flux is left out

    def solve(self, fluxes: FluxMatrix) -> NormalizationSolution:
        """Return coefficients (f,) and levels (n,) of fluxes (f, n): nan where a star was not measured."""
        flux = fluxes.flux
        # CHECK: the method. The scale is free: only coefficient times level must be the flux.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # frames without any star are all nan, and stay so
            level = np.nanmedian(flux, axis=0)
            for _ in range(self.rounds):
                coefficient = np.nanmedian(flux / level, axis=1)
                level = np.nanmedian(flux / coefficient[:, None], axis=0)
            off = flux / (coefficient[:, None] * level) - 1
            scatter, of_star = (1.4826 * np.nanmedian(np.abs(off), axis=axis) for axis in (1, 0))
        stars, frames = (np.maximum(np.isfinite(flux).sum(axis=axis), 1) for axis in (1, 0))
        return NormalizationSolution(
            coefficient=coefficient,
            coefficient_uncertainty=1.25 * scatter / np.sqrt(stars) * coefficient,  # of a median
            scatter=scatter,
            level=level,
            level_error=1.25 * of_star / np.sqrt(frames) * level,
            intrinsic_scatter=of_star,
            used=np.isfinite(flux) & (np.abs(np.nan_to_num(off)) < self.clip),
            status=FitStatus(FitState.CONVERGED),
        )


@hookimpl
def lcf_normalizations() -> dict[str, type]:
    """Offer it as ``[normalization] plugin = "plugin_name"``."""
    return {"plugin_name": PluginClass}
