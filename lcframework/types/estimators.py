"""Estimates of a source's flux, the PSF's and those with the light in discs, and how they are combined into one."""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.types.arrays import Floats


@attrs.frozen(eq=False)
class FluxWeights:
    """Weights of a source's d + 1 flux estimates by its brightness, as the comparison stars' scatter chose them.

    The first estimate is the PSF flux, the others are that flux plus the residual light in discs of growing radius.
    """

    flux: Floats  # (m,) e-/s, PSF fluxes, increasing
    weights: Floats  # (m, d + 1), not negative, sum 1
    noise_factor: float = 1.0  # by which the comparison stars' noise exceeds that of their pixels
    scatter: float = 0.0  # relative scatter beyond that noise

    def at(self, flux: Floats) -> Floats:
        """Return the weights (n, d + 1) for mean PSF fluxes (n,), e-/s; beyond the ends, the ends' weights."""
        table = np.log(self.flux)
        logs = np.log(np.maximum(np.nan_to_num(np.asarray(flux, float)), self.flux[0]))
        return np.stack([np.interp(logs, table, w) for w in self.weights.T], axis=-1)


@attrs.frozen(eq=False)
class Estimators:
    """What combines the estimates of a source's flux in several frames in the way of the comparison stars."""

    radii: Floats  # (e, d) pixels, increasing
    scale: Floats  # (e, d + 1) of each estimate beside the PSF flux, as all stars of a frame share it; the first is 1
    weights: FluxWeights

    def of_epochs(self, which: list[int]) -> Estimators:
        """Return the estimators of some of the frames."""
        return attrs.evolve(self, radii=self.radii[which], scale=self.scale[which])

    @property
    def area(self) -> float:
        """Pixels in the discs by which a bright source is measured: the weighted mean, in the median frame."""
        return float(np.pi * np.median(self.radii, axis=0) ** 2 @ self.weights.weights[-1, 1:])

    def combined(self, estimates: Floats, weights: Floats) -> Floats:
        """Return the flux (e,) from a source's estimates (e, d + 1) and its weights (d + 1,)."""
        return np.asarray((estimates / self.scale) @ weights)
