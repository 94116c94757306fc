"""The coefficients at several regions: where a frame's transparency varies over the field, each has its own."""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Bool, Float

from lcframework.types import Bools, Floats
from plugins_builtin.engine.normalization.ensemble import EnsembleFit
from plugins_builtin.engine.normalization.normal_equations import variance_at


@attrs.frozen(eq=False)
class RegionTerms:
    """The terms in position of regions, as a flux table has them of stars."""

    seen: Bool[Bools, "f r"]  # whether the frame shows the region
    basis: Float[Floats, "f r terms"]
    shared: Float[Floats, "f r shared"]


def coefficients_at(fit: EnsembleFit, regions: RegionTerms) -> tuple[Float[Floats, "f r"], Float[Floats, "f r"]]:
    """Return the coefficients of a fit's frames at regions, and their standard errors; nan where there is none.

    They are on the scale of the fit's own. Each region's errors are independent of each other, as those at the
    reference are.
    """
    state, measured = fit.state, fit.state.used.any(axis=1)
    value, error = np.full((2, *regions.seen.shape), np.nan)
    for k in range(regions.seen.shape[1]):
        basis, shared = regions.basis[:, k], regions.shared[:, k]
        response = state.response_at(shared)
        variance = variance_at(state, fit.linearised, basis, shared) * fit.inflation
        there = measured & regions.seen[:, k]
        value[there, k] = (np.einsum("fk,fk->f", basis, state.terms) * response)[there]
        error[there, k] = (np.sqrt(variance) * response)[there]
    return value, error
