"""Gauss-Newton over many epochs: per-epoch unknowns are eliminated, so that memory does not grow with their number.

Each epoch has its own unknowns ``l = (fluxes, sky, x, y, transparency)``; all share ``g`` (positions, galaxies,
bumps). One pass over the epochs accumulates the Schur complement ``S = sum(A_gg - A_gl A_ll^-1 A_lg) + prior`` and
keeps per epoch only ``A_ll`` and ``A_gl``.
"""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.types import Bools, Floats, Ints
from plugins_builtin.engine.roi.geometry import Epochs, model_variance
from plugins_builtin.engine.roi.scene import Scene, SkyImages, render
from plugins_builtin.engine.threads import in_order

#: A flux is measured where its usable pixels hold this share of the information that all of them would.
_SEEN = 0.02


@attrs.define(eq=False)
class Local:
    """The unknowns of each epoch."""

    flux: Floats  # (e, k)
    sky: Floats  # (e,)
    shift: Floats  # (e, 2) pixels
    transparency: Floats  # (e,) of the galaxy, relative to the coefficient's

    def copy(self) -> Local:
        """Return a copy that can be changed."""
        return Local(self.flux.copy(), self.sky.copy(), self.shift.copy(), self.transparency.copy())

    def stepped(self, steps: Floats, fraction: float) -> Local:
        """Return the unknowns after a fraction of `steps` (e, k + 4)."""
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

    mean: Floats  # (g,)
    precision: Floats  # (g, g)
    shift_covariance: Floats  # (e, 2, 2) pixels^2
    flux_guess: Floats  # (k,) for a source that an epoch does not see


@attrs.define(eq=False)
class Weights:
    """What each pixel counts, and which were clipped."""

    inverse_variance: Floats  # (e, ny, nx), 0 where masked or clipped
    outliers: Bools  # (e, ny, nx)
    suspects: Ints  # (e, ny, nx) sign of the residual where it can't be noise, clipped or not; else 0


@attrs.frozen(eq=False)
class Pass:
    """What one pass over the epochs found, at one point of the parameter space."""

    objective: float  # half of chi2 plus the priors'
    gradient: Floats  # (g,) of the objective, local unknowns eliminated
    schur: Floats  # (g, g)
    a_ll: Floats  # (e, p, p) the epoch's own block, priors included
    a_lg: Floats  # (e, p, g)
    b_l: Floats  # (e, p)
    seen: Bools  # (e, k)
    chi2: Floats  # (e,)
    pixels: Floats  # (e,) number of pixels used
    shift_found: Floats  # (e, 2) where the pixels alone would put the epoch
    shift_precision: Floats  # (e, 2, 2)
    model: Floats  # (e, ny, nx)


def first_weights(epochs: Epochs) -> Weights:
    """Return weights as the noise maps state them."""
    shape = epochs.valid.shape
    return Weights(np.where(epochs.valid, 1.0 / epochs.variance, 0.0), np.zeros(shape, bool), np.zeros(shape, np.int8))


def one_pass(
    epochs: Epochs, scene: Scene, local: Local, weights: Weights, prior: Prior, refresh: Refresh | None = None
) -> Pass:
    """Linearise every epoch and eliminate its unknowns.

    With `refresh`, an epoch's weights are made again from the model before they are used.
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

    def eliminated(i: int) -> tuple[Floats, Floats, float]:
        """Fill in epoch `i`; return its part of the Schur complement, the gradient and the objective."""
        columns, image, seen, shared = _linearised(epochs, i, scene, sky, local)
        if refresh is not None:
            refresh(i, image, weights)
        out.model[i] = image
        iv = weights.inverse_variance[i].ravel()
        residual = (epochs.data[i] - image).ravel()
        root = np.sqrt(iv)
        left, right, r = columns * root, shared * root, residual * root
        out.seen[i] = seen(iv)
        a_ll, a_lg = left @ left.T, left @ right.T
        b_l = left @ r
        out.chi2[i], out.pixels[i] = r @ r, np.count_nonzero(iv)
        out.shift_found[i], out.shift_precision[i] = _own_shift(a_ll, b_l, local.shift[i], k)
        value = 0.5 * out.chi2[i] + local_prior(epochs, i, local, prior, out.seen[i], a_ll, b_l)
        solved = np.linalg.solve(a_ll, np.column_stack([a_lg, b_l]))
        out.a_ll[i], out.a_lg[i], out.b_l[i] = a_ll, a_lg, b_l
        return right @ right.T - a_lg.T @ solved[:, :-1], right @ r - a_lg.T @ solved[:, -1], value

    for curvature, slope, value in in_order(eliminated, [int(i) for i in np.flatnonzero(epochs.usable)]):
        schur += curvature
        gradient -= slope
        objective += value
    return attrs.evolve(out, objective=objective, schur=0.5 * (schur + schur.T))


def _linearised(epochs: Epochs, i: int, scene: Scene, sky: SkyImages, local: Local):
    """Return local columns (p, n), the model (ny, nx), a test of which sources are seen, shared columns (g, n)."""
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
    squares = r.sources.reshape(k, -1) ** 2

    def seen(iv: Floats) -> Bools:
        # Against the best placed source: one off the stamp has little of its light even without a mask.
        return squares @ (iv > 0) > _SEEN * squares.sum(axis=1).max(initial=1e-30)

    return columns, image, seen, shared.reshape(len(shared), -1)


def local_columns(
    flux: Floats, sources: tuple[Floats, Floats, Floats], extended: Floats, transparency: float = 1.0
) -> Floats:
    """Return an epoch's image by its own unknowns, (k + 4, ny nx): fluxes, sky, x, y, transparency.

    Parameters
    ----------
    flux : (k,)
        Of the sources, e-/s.
    sources : three of (k, ny, nx)
        Their unit images, and the derivatives by x and y.
    extended : (ny, nx)
        What else is on the sky, for a transparency of 1.
    transparency : float
        Of what is extended.
    """
    unit, *by_place = sources
    slope_y, slope_x = np.gradient(extended)
    move = [
        np.tensordot(flux, by, 1) - transparency * slope for by, slope in zip(by_place, (slope_x, slope_y), strict=True)
    ]
    columns = np.concatenate([unit, np.ones((1, *extended.shape)), np.stack(move), extended[None]])
    return columns.reshape(len(columns), -1)


def _own_shift(a_ll: Floats, b_l: Floats, shift: Floats, k: int) -> tuple[Floats, Floats]:
    """Return where an epoch's pixels put it, fluxes and sky free, and the precision of that."""
    others = np.r_[np.arange(k + 1)]
    t = [k + 1, k + 2]
    a_oo = a_ll[np.ix_(others, others)] + 1e-12 * np.diag(1.0 + np.diag(a_ll)[others])
    solved = np.linalg.solve(a_oo, np.column_stack([a_ll[np.ix_(others, t)], b_l[others]]))
    precision = a_ll[np.ix_(t, t)] - a_ll[np.ix_(t, others)] @ solved[:, :2]
    slope = b_l[t] - a_ll[np.ix_(t, others)] @ solved[:, 2]
    precision = 0.5 * (precision + precision.T)
    size = max(float(np.trace(precision)), 1e-30)
    return shift + np.linalg.solve(precision + 1e-9 * size * np.eye(2), slope), precision


def local_prior(epochs: Epochs, i: int, local: Local, prior: Prior, seen: Bools, a_ll: Floats, b_l: Floats) -> float:
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
    for s in np.flatnonzero(~seen):
        # Unmeasured here: held at its usual flux, which keeps its wings off its neighbours.
        weight = 1.0 / max(abs(prior.flux_guess[s]), 1e-3) ** 2
        a_ll[s, s] += weight
        b_l[s] -= weight * (local.flux[i, s] - prior.flux_guess[s])
        objective += 0.5 * weight * (local.flux[i, s] - prior.flux_guess[s]) ** 2
    return objective


def solve_step(found: Pass) -> tuple[Floats, Floats, float]:
    """Return the steps of the shared (g,) and the local unknowns (e, p), and the decrease that they promise."""
    if len(found.gradient):
        factor = _scaled_cholesky(found.schur)
        shared = -factor(found.gradient)
        decrease = -0.5 * float(shared @ found.gradient)
    else:
        shared, decrease = np.zeros(0), 0.0
    right = found.b_l - found.a_lg @ shared
    local = np.linalg.solve(found.a_ll, right[..., None])[..., 0]
    own = np.linalg.solve(found.a_ll, found.b_l[..., None])[..., 0]
    return shared, local, decrease + 0.5 * float((own * found.b_l).sum())


def _scaled_cholesky(matrix: Floats):
    """Return a solver for a positive matrix whose diagonal spans many decades."""
    from scipy.linalg import cho_factor, cho_solve

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
    return lambda b: (scale * cho_solve(factor, (scale * b.T).T.T).T).T if b.ndim == 1 else _apply(factor, scale, b)


def _apply(factor: tuple[Floats, bool], scale: Floats, b: Floats) -> Floats:
    from scipy.linalg import cho_solve

    return scale[:, None] * cho_solve(factor, scale[:, None] * b)


def covariances(found: Pass, k: int) -> tuple[Floats, Floats, Floats]:
    """Return the fluxes' random covariance (e, k, k), the part common to all epochs, and the shared covariance (g, g).

    The two parts of the flux error are of different kinds and must not be added: the first is new at each epoch, the
    second, which comes from the shared unknowns, moves a source's whole curve.
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
    """Makes an epoch's weights from the model: its photon noise, and no weight where a residual can't be noise."""

    def __init__(
        self, epochs: Epochs, model_error: float, threshold: float | None, from_model: bool, persistent: Bools
    ) -> None:
        """Take the relative error of the model, and the sigmas beyond which a pixel is clipped (None: none is).

        `persistent` is what :func:`persistent` returned for the pass before.
        """
        self.persistent = persistent
        self.epochs = epochs
        self.model_error = model_error
        self.threshold = threshold
        self.from_model = from_model

    def __call__(self, i: int, image: Floats, weights: Weights) -> None:
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


def suspects(z: Floats, threshold: float) -> Ints:
    """Return the sign of residuals `z` (sigma) beyond a threshold, and of neighbours above half of it; else 0."""
    from scipy.ndimage import binary_dilation

    core = np.abs(z) > threshold
    if core.mean() > 0.1:
        return np.zeros(z.shape, np.int8)  # a misfit, not outliers: the reduced chi2 shall say so
    found = core | (binary_dilation(core, np.ones((3, 3))) & (z > 0.5 * threshold))
    return np.where(found, np.sign(z), 0).astype(np.int8)


def persistent(signs: Ints) -> Bools:
    """Return where more than a quarter of the epochs have suspects of one sign, there or next to it.

    That is what the model lacks, not what fell on a detector. A cosmic ray that misled the model shows as one epoch
    above it and the others below.

    Parameters
    ----------
    signs : (e, ny, nx)
        From :func:`suspects`.

    Returns
    -------
    (2, ny, nx)
        For suspects above and below the model.
    """
    from scipy.ndimage import maximum_filter

    near = [maximum_filter(signs == sign, size=(1, 3, 3)).sum(axis=0) for sign in (1, -1)]
    return np.array(near) > max(2, 0.25 * len(signs))


def not_persistent(signs: Ints, lasting: Bools) -> Bools:
    """Return the suspects (..., ny, nx) that `lasting` (2, ny, nx) does not explain."""
    return ((signs > 0) & ~lasting[0]) | ((signs < 0) & ~lasting[1])


def relative_model_error(z: Floats, image: Floats, sigma: Floats) -> float:
    """Return the model's relative error (0 to 0.2) that its residuals show in pixels of high signal.

    Parameters
    ----------
    z, image, sigma : (n,)
        Residuals in sigma, model above the sky, and noise.
    """
    bright = image > 15 * sigma
    if bright.sum() < 20:
        return 0.02
    ratio = (z * sigma / np.maximum(image, 1e-30))[bright]
    spread = 1.4826 * np.median(np.abs(ratio))
    noise = np.median((sigma / np.maximum(image, 1e-30))[bright])
    return float(np.clip(np.sqrt(max(spread**2 - noise**2, 0.0)), 0.005, 0.2))
