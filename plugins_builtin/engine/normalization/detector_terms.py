"""How the response of a detector depends on the position: monomials, and coefficients that all frames share.

Where the telescope's pointing drifts and the flat-field correction is poor, a star is measured by other pixels in each
frame. The remaining response, ``1 + sum_k q_k T_k(x, y)``, is the same for all frames. Together with the frames'
coefficients and the stars' levels it is one linear problem. The frames are eliminated first, then the stars; a small
system in q remains. Where all stars drift alike, a slope over the detector can't be distinguished from a change of
transparency. The prior decides on such combinations, and they change no normalised flux.
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Float

from lcframework.types import Floats
from plugins_builtin.engine.normalization.ensemble import EnsembleFit, FluxTable


@attrs.frozen(eq=False)
class SharedResponse:
    """The coefficients q of a response that all frames share."""

    values: Float[Floats, " shared"]
    variances: Float[Floats, " shared"]  # posterior


def monomials(position: Float[Floats, "*stack 2"], order: int) -> Float[Floats, "*stack terms"]:
    """Return the monomials of degree 1 to `order` of positions (x, y)."""
    x, y = position[..., 0], position[..., 1]
    terms = [x ** (total - j) * y**j for total in range(1, order + 1) for j in range(total + 1)]
    return np.stack(terms, axis=-1) if terms else np.zeros((*x.shape, 0))


def detector_positions(xy: Float[Floats, "*stack 2"], shape: tuple[int, int]) -> Float[Floats, "*stack 2"]:
    """Return pixel positions from the detector's centre in units of half its longer side; 0 where not finite."""
    centre = 0.5 * (np.array(shape[::-1], float) - 1.0)
    return np.asarray(np.nan_to_num((np.asarray(xy, float) - centre) / (0.5 * max(shape))))


def shared_response(
    fit: EnsembleFit,
    table: FluxTable,
    terms: Float[Floats, "f n shared"],
    present: Float[Floats, " shared"],
    prior: float,
) -> SharedResponse:
    """Return the coefficients q of a response that all frames share.

    Parameters
    ----------
    fit : EnsembleFit
        A fit to fluxes that are corrected for the present response.
    table : FluxTable
        Those fluxes.
    terms : (f, n, shared) array
        The terms T_k at the stars' positions.
    present : (shared,) array
        The present coefficients.
    prior : float
        Standard deviation of a Gaussian prior about 0 on the coefficients.

    Returns
    -------
    SharedResponse
        The whole of them, `present` included.
    """
    normal, used = fit.linearised, fit.state.used
    model = np.where(used, normal.model, 1.0)
    weight = np.where(used, model**2 / normal.variance, 0.0)
    relative = np.where(used, normal.residual / model, 0.0)[..., None]

    basis = table.basis
    weighted = weight[..., None] * basis
    block = np.swapaxes(weighted, 1, 2) @ basis
    stiff = np.full(basis.shape[-1], fit.state.prior**-2)
    stiff[0] = 1e-9  # a frame without stars
    gain = np.linalg.solve(block + np.diag(stiff), np.swapaxes(weighted, 1, 2))  # (f, terms, n)

    def without_frames(values: Float[Floats, "f n values"]) -> Float[Floats, "f n values"]:
        return np.asarray(values - basis @ (gain @ values))

    stars = np.diag(weight.sum(axis=0)) - np.einsum("fnk,fkm->nm", weighted, gain, optimize=True)
    between = np.linalg.pinv(stars, hermitian=True)  # a common factor of all stars is the frames'
    cleaned, rest = without_frames(terms), without_frames(relative)[..., 0]
    cross = np.einsum("fn,fnk->nk", weight, cleaned)
    of_stars = between @ cross
    system = np.einsum("fnk,fn,fnl->kl", terms, weight, cleaned, optimize=True) - cross.T @ of_stars
    right = np.einsum("fnk,fn,fn->k", terms, weight, rest, optimize=True) - of_stars.T @ (weight * rest).sum(axis=0)
    covariance = np.linalg.inv(system + np.eye(len(right)) / prior**2)
    return SharedResponse(present + covariance @ (right - present / prior**2), np.diagonal(covariance))
