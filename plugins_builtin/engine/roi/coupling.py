"""How the background and each epoch's own unknowns pull at each other: their mixed second derivatives.

Held as images they take p times N x N numbers an epoch, for p unknowns: the largest arrays of a fit. Where that is too
much, each product with them is computed from the derivatives of the epoch's data, at the cost of one pass over all.
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Float, Float32

from lcframework.types import Floats
from plugins_builtin.engine.roi.penalties import Values
from plugins_builtin.engine.roi.starlet_objective import StarletObjective

_HELD = 64 * 2**20  # bytes


@attrs.frozen(eq=False)
class Held:
    """The mixed derivatives by the used epochs' unknowns and the background's pixels themselves."""

    by_h: Float32[Floats, "e p pixels"]

    def onto_h(self, local: Float[Floats, "e p"]) -> Float[Floats, " pixels"]:
        """Return the change of the background's gradient for changes of the epochs' unknowns."""
        return np.asarray(np.tensordot(local.astype(np.float32), self.by_h, 2))

    def from_h(self, h: Float[Floats, " pixels"]) -> Float[Floats, "e p"]:
        """Return the changes of the epochs' gradients for a change of the background."""
        return np.asarray(self.by_h @ h.astype(np.float32))


@attrs.frozen(eq=False)
class Computed:
    """Products that are computed: light of the background is moved to the epochs, or theirs back to it.

    Attributes
    ----------
    objective : StarletObjective
        Its operators move light.
    values : Values
        Where the derivatives are taken.
    weighted : (e, p, n, n) array
        The derivatives of each used epoch's image by its unknowns, times the pixels' weights.
    """

    objective: StarletObjective
    values: Values
    weighted: Float32[Floats, "e p n n"]

    def onto_h(self, local: Float[Floats, "e p"]) -> Float[Floats, " pixels"]:
        """Return the change of the background's gradient for changes of the epochs' unknowns."""
        total = np.zeros(self.values.h.size)
        for rows, chosen in self.objective.operators.chunks():
            image = np.einsum("ep,epyx->eyx", local[rows].astype(np.float32), self.weighted[rows])
            back = self.objective.background_gradients(self.values, image[None], rows, chosen)[0]
            total += back.sum(axis=0).ravel()
        return total

    def from_h(self, h: Float[Floats, " pixels"]) -> Float[Floats, "e p"]:
        """Return the changes of the epochs' gradients for a change of the background."""
        changed = attrs.evolve(self.values, h=h.reshape(self.values.h.shape))
        pull = np.zeros(self.weighted.shape[:2])
        for rows, chosen in self.objective.operators.chunks():
            image = self.objective.background_of(changed, rows, chosen)
            pull[rows] = np.einsum("epyx,eyx->ep", self.weighted[rows], image.astype(np.float32))
        return pull

    def held(self) -> Held:
        """Return the derivatives themselves."""
        epochs, unknowns = self.weighted.shape[:2]
        by_h = np.empty((epochs, unknowns, self.values.h.size), np.float32)
        for rows, chosen in self.objective.operators.chunks():
            images = self.weighted[rows].swapaxes(0, 1)
            by_unknown = self.objective.background_gradients(self.values, images, rows, chosen)
            by_h[rows] = by_unknown.swapaxes(0, 1).reshape(len(chosen), unknowns, -1)
        return Held(by_h)


Coupling = Held | Computed


def coupling(objective: StarletObjective, values: Values, weighted: Float32[Floats, "e p n n"]) -> Coupling:
    """Return the derivatives, held where there is memory for them; parameters as of :class:`Computed`."""
    computed = Computed(objective, values, weighted)
    epochs, unknowns = weighted.shape[:2]
    return computed.held() if 4 * epochs * unknowns * values.h.size <= _HELD else computed
