"""Gauss-Newton over many epochs: per-epoch unknowns are eliminated, so that memory does not grow with their number.

Each epoch has its own unknowns ``l = (fluxes, sky, x, y, transparency)``; all share ``g`` (positions, galaxies,
bumps). One pass over the epochs accumulates the Schur complement ``S = sum(A_gg - A_gl A_ll^-1 A_lg) + prior`` and
keeps per epoch only ``A_ll`` and ``A_gl``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs
import numpy as np
from jaxtyping import Bool, Float, Int

from lcframework.types import Bools, Floats, Ints
from plugins_builtin.engine.roi.geometry import Epochs, model_variance
from plugins_builtin.engine.roi.outlying_pixels import not_persistent, suspects
from plugins_builtin.engine.roi.scene import Scene, SkyImages, render
from plugins_builtin.engine.threads import in_order

#: A flux is measured where the usable pixels have at least this share of the information of all pixels.
_SEEN = 0.25


@attrs.define(eq=False)
class Local:
    """The unknowns of each epoch."""

    flux: Float[Floats, "e k"]
    sky: Float[Floats, " e"]
    shift: Float[Floats, "e 2"]  # pixels
    transparency: Float[Floats, " e"]  # of the galaxy, relative to the coefficient's

    def copy(self) -> Local:
        """Return a copy that can be changed."""
        return Local(self.flux.copy(), self.sky.copy(), self.shift.copy(), self.transparency.copy())

    def stepped(self, steps: Float[Floats, "e p"], fraction: float) -> Local:
        """Return the unknowns after a fraction of `steps`."""
        k = self.flux.shape[1]
        move = fraction * steps[:, k + 1 : k + 3]
        length = np.linalg.norm(move, axis=1, keepdims=True)
        move = move * np.minimum(1.0, 1.0 / np.maximum(length, 1e-12))
        return Local(
            self.flux + fraction * steps[:, :k],
            self.sky + fraction * steps[:, k],
            self.shift + move,
            self.transparency + fraction * steps[:, k + 3],
        )

    @classmethod
    def start(cls, e: int, k: int) -> Local:
        """Return zero fluxes, sky and translations."""
        return cls(np.zeros((e, k)), np.zeros(e), np.zeros((e, 2)), np.ones(e))


@attrs.frozen(eq=False)
class Prior:
    """Gaussian priors: on the shared unknowns, a mean and a precision; on translations, a covariance an epoch."""

    mean: Float[Floats, " shared"]
    precision: Float[Floats, "shared shared"]
    shift_covariance: Float[Floats, "e 2 2"]  # pixels^2
    flux_guess: Float[Floats, " k"]  # for a source that an epoch does not see


@attrs.define(eq=False)
class Weights:
    """The weight of each pixel, and which pixels were clipped."""

    inverse_variance: Float[Floats, "e ny nx"]  # 0 where masked or clipped
    outliers: Bool[Bools, "e ny nx"]
    suspects: Int[Ints, "e ny nx"]  # sign of a residual that is too large for noise, clipped or not; else 0


@attrs.frozen(eq=False)
class Pass:
    """The result of one pass over the epochs, at one point of the parameter space."""

    objective: float  # half of chi2 plus the priors'
    gradient: Float[Floats, " shared"]  # of the objective, local unknowns eliminated
    schur: Float[Floats, "shared shared"]
    a_ll: Float[Floats, "e p p"]  # the epoch's own block, priors included
    a_lg: Float[Floats, "e p shared"]
    b_l: Float[Floats, "e p"]
    seen: Bool[Bools, "e k"]
    chi2: Float[Floats, " e"]
    pixels: Float[Floats, " e"]  # number of pixels used
    shift_found: Float[Floats, "e 2"]  # the translation that the pixels alone ask for, without the prior
    shift_precision: Float[Floats, "e 2 2"]
    model: Float[Floats, "e ny nx"]


def first_weights(epochs: Epochs) -> Weights:
    """Return weights as the noise maps state them."""
    shape = epochs.valid.shape
    return Weights(np.where(epochs.valid, 1.0 / epochs.variance, 0.0), np.zeros(shape, bool), np.zeros(shape, np.int8))


def one_pass(
    epochs: Epochs, scene: Scene, local: Local, weights: Weights, prior: Prior, refresh: Refresh | None = None
) -> Pass:
    """Linearise every epoch and eliminate its unknowns.

    Parameters
    ----------
    epochs : Epochs
        The data.
    scene : Scene
        The shared unknowns.
    local : Local
        The unknowns of each epoch.
    weights : Weights
        Changed where `refresh` is given.
    prior : Prior
        The priors on both.
    refresh : Refresh, optional
        Computes an epoch's weights from the model before they are used.

    Returns
    -------
    Pass
        The normal equations, the objective and the model.
    """
    e, k = local.flux.shape
    p, g = k + 4, scene.size
    sky = SkyImages(epochs, scene)
    difference = scene.vector - prior.mean
    schur = prior.precision.copy()
    gradient = prior.precision @ difference
    objective = 0.5 * float(difference @ gradient)
    out = Pass(
        0.0, gradient, schur, np.tile(np.eye(p), (e, 1, 1)), np.zeros((e, p, g)), np.zeros((e, p)),
        np.zeros((e, k), bool), np.full(e, np.nan), np.zeros(e), np.zeros((e, 2)), np.zeros((e, 2, 2)),
        np.zeros(epochs.data.shape),
    )  # fmt: skip

    def eliminated(i: int) -> tuple[Float[Floats, "shared shared"], Float[Floats, " shared"], float]:
        """Fill in epoch `i`; return its part of the Schur complement, the gradient and the objective."""
        columns, image, sources, shared = _linearised(epochs, i, scene, sky, local)
        if refresh is not None:
            refresh(i, image, weights)
        out.model[i] = image
        iv = weights.inverse_variance[i].ravel()
        residual = (epochs.data[i] - image).ravel()
        root = np.sqrt(iv)
        left, right, r = columns * root, shared * root, residual * root
        out.seen[i] = _seen(sources, iv)
        a_ll, a_lg = left @ left.T, left @ right.T
        b_l = left @ r
        out.chi2[i], out.pixels[i] = r @ r, np.count_nonzero(iv)
        out.shift_found[i], out.shift_precision[i] = _own_shift(a_ll, b_l, local.shift[i], k)
        value = 0.5 * float(out.chi2[i]) + local_prior(epochs, i, local, prior, out.seen[i], a_ll, b_l)
        solved = np.linalg.solve(a_ll, np.column_stack([a_lg, b_l]))
        out.a_ll[i], out.a_lg[i], out.b_l[i] = a_ll, a_lg, b_l
        return right @ right.T - a_lg.T @ solved[:, :-1], right @ r - a_lg.T @ solved[:, -1], value

    for curvature, slope, value in in_order(eliminated, np.flatnonzero(epochs.usable).tolist()):
        schur += curvature
        gradient -= slope
        objective += value
    return attrs.evolve(out, objective=objective, schur=0.5 * (schur + schur.T))


def _linearised(
    epochs: Epochs, i: int, scene: Scene, sky: SkyImages, local: Local
) -> tuple[Float[Floats, "p pixels"], Float[Floats, "ny nx"], Float[Floats, "k ny nx"], Float[Floats, "shared pixels"]]:
    """Return the derivatives by local unknowns, the model, the sources' unit images, the derivatives by shared ones."""
    k = local.flux.shape[1]
    r = render(epochs, i, scene, sky, local.shift[i])
    flux, transparency = local.flux[i], local.transparency[i]
    image = np.tensordot(flux, r.sources, 1) + transparency * r.galaxy + local.sky[i]
    columns = local_columns(flux, (r.sources, r.by_x, r.by_y), r.galaxy, transparency)
    linear = epochs.transform[i][:, :2]
    by_xi = flux[:, None, None] * (linear[0, 0] * r.by_x + linear[1, 0] * r.by_y)
    by_eta = flux[:, None, None] * (linear[0, 1] * r.by_x + linear[1, 1] * r.by_y)
    by_offset = np.stack([by_xi, by_eta], axis=1).reshape(2 * k, *image.shape)
    by_refraction = (epochs.zenith[i, 0] * by_xi + epochs.zenith[i, 1] * by_eta)[: len(scene.refraction)]
    shared = np.concatenate([by_offset, by_refraction, transparency * r.by_galaxies, transparency * r.by_bumps])
    return columns, image, r.sources, shared.reshape(len(shared), -1)


def _seen(sources: Float[Floats, "k ny nx"], inverse_variance: Float[Floats, " pixels"]) -> Bool[Bools, " k"]:
    """Return which sources have enough of their light in pixels that are used."""
    squares = sources.reshape(len(sources), -1) ** 2
    # Relative to the best placed source: one beyond the stamp's edge has little light in it even without a mask.
    return np.asarray(squares @ (inverse_variance > 0) > _SEEN * squares.sum(axis=1).max(initial=1e-30))


def local_columns(
    flux: Float[Floats, " k"],
    sources: tuple[Float[Floats, "k ny nx"], Float[Floats, "k ny nx"], Float[Floats, "k ny nx"]],
    extended: Float[Floats, "ny nx"],
    transparency: float = 1.0,
) -> Float[Floats, "k+4 ny*nx"]:
    """Return the derivatives of an epoch's image by its own unknowns: fluxes, sky, x, y, transparency.

    Parameters
    ----------
    flux : (k,) array
        Of the sources, e-/s.
    sources : three (k, ny, nx) arrays
        Their unit images, and the derivatives by x and y.
    extended : (ny, nx) array
        All other light, without the sky, for a transparency of 1.
    transparency : float
        Factor on the extended light.
    """
    unit, *by_position = sources
    slope_y, slope_x = np.gradient(extended)
    move = [
        np.tensordot(flux, by, 1) - transparency * slope
        for by, slope in zip(by_position, (slope_x, slope_y), strict=True)
    ]
    columns = np.concatenate([unit, np.ones((1, *extended.shape)), np.stack(move), extended[None]])
    return columns.reshape(len(columns), -1)


def _own_shift(
    a_ll: Float[Floats, "p p"], b_l: Float[Floats, " p"], shift: Float[Floats, " 2"], k: int
) -> tuple[Float[Floats, " 2"], Float[Floats, "2 2"]]:
    """Return the translation that an epoch's pixels alone ask for, fluxes and sky free, and its precision."""
    others = np.r_[np.arange(k + 1)]
    t = [k + 1, k + 2]
    a_oo = a_ll[np.ix_(others, others)] + 1e-12 * np.diag(1.0 + np.diag(a_ll)[others])
    solved = np.linalg.solve(a_oo, np.column_stack([a_ll[np.ix_(others, t)], b_l[others]]))
    precision = a_ll[np.ix_(t, t)] - a_ll[np.ix_(t, others)] @ solved[:, :2]
    slope = b_l[t] - a_ll[np.ix_(t, others)] @ solved[:, 2]
    precision = 0.5 * (precision + precision.T)
    size = max(float(np.trace(precision)), 1e-30)
    return shift + np.linalg.solve(precision + 1e-9 * size * np.eye(2), slope), precision


def local_prior(
    epochs: Epochs,
    i: int,
    local: Local,
    prior: Prior,
    seen: Bool[Bools, " k"],
    a_ll: Float[Floats, "k+4 k+4"],
    b_l: Float[Floats, " k+4"],
) -> float:
    """Add an epoch's priors to its normal equations (changed in place); return their part of the objective."""
    k = len(seen)
    precision = np.linalg.inv(prior.shift_covariance[i])
    shift = local.shift[i]
    a_ll[k + 1 : k + 3, k + 1 : k + 3] += precision
    b_l[k + 1 : k + 3] -= precision @ shift
    objective = 0.5 * float(shift @ precision @ shift)
    weight = 1.0 / max(epochs.transparency_error[i], 1e-6) ** 2
    a_ll[k + 3, k + 3] += weight
    b_l[k + 3] -= weight * (local.transparency[i] - 1.0)
    objective += 0.5 * weight * (local.transparency[i] - 1.0) ** 2
    for s in np.flatnonzero(~seen).tolist():
        # Not measured here: held near its usual flux, so that its wings leave the neighbours' fluxes alone.
        weight = 1.0 / max(abs(prior.flux_guess[s]), 1e-3) ** 2
        a_ll[s, s] += weight
        b_l[s] -= weight * (local.flux[i, s] - prior.flux_guess[s])
        objective += 0.5 * weight * (local.flux[i, s] - prior.flux_guess[s]) ** 2
    return float(objective)


def solve_step(
    found: Pass, held: Bool[Bools, " shared"] | None = None
) -> tuple[Float[Floats, " shared"], Float[Floats, "e p"], float]:
    """Return the steps of the shared and the local unknowns, and the expected decrease of the objective.

    The shared unknowns of `held` do not move.
    """
    free = np.ones(len(found.gradient), bool) if held is None else ~held
    shared, decrease = np.zeros(len(free)), 0.0
    if free.any():
        factor = _scaled_cholesky(found.schur[np.ix_(free, free)])
        shared[free] = -factor(found.gradient[free])
        decrease = -0.5 * float(shared @ found.gradient)
    right = found.b_l - found.a_lg @ shared
    local = np.linalg.solve(found.a_ll, right[..., None])[..., 0]
    own = np.linalg.solve(found.a_ll, found.b_l[..., None])[..., 0]
    return shared, local, decrease + 0.5 * float((own * found.b_l).sum())


def _scaled_cholesky(matrix: Float[Floats, "shared shared"]) -> Callable[[Floats], Floats]:
    """Return a function that solves equations with a positive matrix whose diagonal spans many decades."""
    from scipy.linalg import cho_factor

    scale = 1.0 / np.sqrt(np.diag(matrix))
    scaled = matrix * np.outer(scale, scale)
    for ridge in (0.0, 1e-12, 1e-9, 1e-6):
        try:
            factor = cho_factor(scaled + ridge * np.eye(len(scaled)), lower=True)
            break
        except np.linalg.LinAlgError:
            continue
    else:
        raise np.linalg.LinAlgError("the shared normal equations are not positive")

    return partial(_solve_scaled, factor, scale)


def _solve_scaled(
    factor: tuple[Floats, bool], scale: Float[Floats, " shared"], right: Float[Floats, " shared *columns"]
) -> Float[Floats, " shared *columns"]:
    from scipy.linalg import cho_solve

    along = scale if right.ndim == 1 else scale[:, None]
    return np.asarray(along * cho_solve(factor, along * right))


def covariances(
    found: Pass, k: int
) -> tuple[Float[Floats, "e k k"], Float[Floats, "e k k"], Float[Floats, "shared shared"]]:
    """Return the fluxes' random covariance, the part common to all epochs, and the shared unknowns' covariance.

    The two parts of the flux error must not be added, as they are of different kinds. The first is independent in each
    epoch. The second comes from the shared unknowns and shifts a source's whole light curve.
    """
    inverse = np.linalg.inv(found.a_ll)
    random = inverse[:, :k, :k]
    g = len(found.gradient)
    shared = _scaled_cholesky(found.schur)(np.eye(g)) if g else np.zeros((0, 0))
    shared = 0.5 * (shared + shared.T)
    response = inverse[:, :k] @ found.a_lg
    common = response @ shared @ response.swapaxes(1, 2)
    random, common = 0.5 * (random + random.swapaxes(1, 2)), 0.5 * (common + common.swapaxes(1, 2))
    unseen = ~(found.seen[:, :, None] & found.seen[:, None, :])
    return np.where(unseen, np.nan, random), np.where(unseen, np.nan, common), shared


class Refresh:
    """Computes an epoch's weights from the model: from its photon noise; 0 where a residual is too large for noise."""

    def __init__(
        self,
        epochs: Epochs,
        model_error: float,
        threshold: float | None,
        from_model: bool,
        persistent: Bool[Bools, "2 ny nx"],
    ) -> None:
        """Store the settings.

        Parameters
        ----------
        epochs : Epochs
            The data.
        model_error : float
            Relative error of the model.
        threshold : float, optional
            Sigmas beyond which a pixel is clipped; None: no pixel is clipped.
        from_model : bool
            Whether the photon noise is that of the model, not that of the noise map.
        persistent : (2, ny, nx) bool array
            The result of :func:`persistent` after the previous pass.
        """
        self.persistent = persistent
        self.epochs = epochs
        self.model_error = model_error
        self.threshold = threshold
        self.from_model = from_model

    def __call__(self, i: int, image: Float[Floats, "ny nx"], weights: Weights) -> None:
        """Replace the weights of epoch `i`, of which `image` is the model."""
        epochs = self.epochs
        variance = model_variance(epochs, i, image) if self.from_model else epochs.variance[i]
        valid = epochs.valid[i]
        if self.threshold is not None:
            error = np.sqrt(variance + (self.model_error * image) ** 2)
            z = np.where(valid, (epochs.data[i] - image) / error, 0.0)
            weights.suspects[i] = suspects(z, self.threshold)
        weights.outliers[i] = not_persistent(weights.suspects[i], self.persistent)
        weights.inverse_variance[i] = np.where(valid & ~weights.outliers[i], 1.0 / variance, 0.0)
