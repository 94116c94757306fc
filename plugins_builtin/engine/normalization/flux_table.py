"""What the ensemble is solved from, and its estimates: the values that its steps pass on."""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Bool, Float

from lcframework.types import Bools, Floats


@attrs.frozen(eq=False)
class FluxTable:
    """The fluxes that the ensemble is solved from."""

    flux: Float[Floats, "f n"]
    variance: Float[Floats, "f n"]  # of the measurement
    valid: Bool[Bools, "f n"]
    basis: Float[Floats, "f n terms"]  # 1, then the terms in position that each frame has for itself
    shared: Float[Floats, "f n shared"]  # the terms in position of the response that all frames share
    shared_at_reference: Float[Floats, "f shared"]  # where the coefficients are to hold
    prior: float  # relative standard deviation of the terms in position, or where its search begins
    prior_is_fitted: bool = False  # whether the fluxes tell it

    def with_terms(self, terms: int, shared: int) -> FluxTable:
        """Return the same with the first of the frames' terms, and of the response's."""
        return attrs.evolve(
            self,
            basis=self.basis[..., :terms],
            shared=self.shared[..., :shared],
            shared_at_reference=self.shared_at_reference[..., :shared],
        )


@attrs.frozen(eq=False)
class EnsembleState:
    """Estimates at one iteration."""

    terms: Float[Floats, "f terms"]
    prior: float  # relative standard deviation of the frames' terms in position
    response: Float[Floats, " shared"]
    response_prior: float  # standard deviation of the response's terms
    log_level: Float[Floats, " n"]
    star_variance: Float[Floats, " n"]  # relative
    frame_variance: Float[Floats, " f"]  # relative
    used: Bool[Bools, "f n"]

    @property
    def level(self) -> Float[Floats, " n"]:
        """Levels of the stars."""
        return np.exp(self.log_level)

    def response_at(self, shared: Float[Floats, "*stack shared"]) -> Float[Floats, "*stack"]:
        """Return the detector's relative response by the terms T_k at some places, ``exp(sum_k q_k T_k)``."""
        return np.exp(shared @ self.response)
