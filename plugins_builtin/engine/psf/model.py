"""STARRED's PSF objective in a separable form, and the two steps that minimise it for one frame, in JAX.

With the target matrices A of :mod:`plugins_builtin.engine.target`, star i of a frame is

    ``model_i = a_i A(y_i) (moffat + h) A(x_i).T``

with one Moffat and one correction ``h`` on small pixels for all stars. The objective is

    ``L = 1/2 sum iv (data - model)^2 + sum penalty |starlet details of h|``

where `iv` is the inverse variance, 0 where masked. STARRED writes ``h = b / C`` with C an amplitude that only scales
the prior, so its penalty is ``N / subsampling^2 * C * W`` here. It averages over blocks of small pixels where we sum:
its amplitudes are ``subsampling^2`` times ours.

All functions are for one frame; :func:`jax.vmap` maps them over frames on an accelerator. Padding stars have no weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Generic, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from plugins_builtin.engine.lbfgs import minimize
from plugins_builtin.engine.psf.distortion import distort
from plugins_builtin.engine.psf.gradient import half_chi2, penalty, starlet_details
from plugins_builtin.engine.psf.moffat import moffat
from plugins_builtin.engine.psf.scaling import pixel_scaling
from plugins_builtin.engine.target import AnyArray, target_matrix, target_matrix_pair


class Frame(NamedTuple, Generic[AnyArray]):
    """The data of a frame. The unit of flux is such that the stars' amplitudes are about one."""

    data: Float[AnyArray, "stars n n"]
    inverse_variance: Float[AnyArray, "stars n n"]  # 0 where masked
    position: Float[AnyArray, "stars 2"]  # in the frame, from its centre, in units of its sides
    penalty: Float[AnyArray, "scales m m"]


class Model(NamedTuple, Generic[AnyArray]):
    """The unknowns of a frame."""

    shape: Float[AnyArray, " 4"]  # of the Moffat
    correction: Float[AnyArray, "m m"]  # h
    amplitude: Float[AnyArray, " stars"]
    x: Float[AnyArray, " stars"]  # from the stamp's centre, data pixels
    y: Float[AnyArray, " stars"]
    distortion: Float[AnyArray, " 6"]  # zeros where there is none


class Result(NamedTuple):
    """A fitted model and how the fit ended."""

    model: Model[Array]
    value: Float[Array, ""]  # of the objective, with the softness that it was minimised with
    evaluations: int | Int[Array, ""]
    converged: Bool[Array, ""]
    stage: int | Int[Array, ""]
    history: Float[Array, " history"]


class _Equations(NamedTuple):
    """Normal equations of the analytic step: of the shared unknowns, of each star's own, and the mixed ones."""

    shared_gradient: Float[Array, " shared"]
    star_gradient: Float[Array, "stars 3"]
    shared_hessian: Float[Array, "shared shared"]
    mixed: Float[Array, "stars shared 3"]
    star_hessian: Float[Array, "stars 3 3"]


class Setting(NamedTuple):
    """The constants that code is compiled for."""

    subsampling: int
    fwhm: float  # of the target Gaussian, small pixels
    distorted: bool


# Steps that the pixels' optimiser keeps, without and with a free Moffat or distortion (whose valleys are long), and
# evaluations between its tests of convergence.
_MEMORY, _MEMORY_FREE = 8, 16
_PATIENCE = 5

# Bounds of the Moffat's shape: beyond all shapes that a stamp can distinguish, so that a step can't overflow.
_LOG_BETA = (math.log(0.7), math.log(50.0))
_ELLIPTICITY = 1.5


def narrow(model: Model[Array], setting: Setting) -> Float[Array, "m m"]:
    """Return Moffat plus correction."""
    m = model.correction.shape[-1]
    return moffat(model.shape, m, setting.subsampling, xp=jnp) + model.correction


def star_images(
    kernel: Float[Array, "m m"], model: Model[Array], frame: Frame[Array], setting: Setting
) -> Float[Array, "stars n n"]:
    """Return the images of stars of unit amplitude with the PSF `kernel`."""
    n = frame.data.shape[-1]
    rows = target_matrix(model.y, n, setting.subsampling, setting.fwhm, xp=jnp)
    columns = target_matrix(model.x, n, setting.subsampling, setting.fwhm, xp=jnp)
    kernels = _distorted(kernel, model.distortion, frame) if setting.distorted else kernel
    return rows @ kernels @ jnp.swapaxes(columns, -1, -2)


def chi2(model: Model[Array], frame: Frame[Array], setting: Setting) -> Float[Array, " stars"]:
    """Return the stars' chi2, summed in double precision where that is enabled in JAX."""
    images = star_images(narrow(model, setting), model, frame, setting)
    residual = frame.data - model.amplitude[:, None, None] * images
    return jnp.sum(frame.inverse_variance * residual**2, axis=(-1, -2), dtype=_sum_type())


def objective(
    model: Model[Array], frame: Frame[Array], softness: float | Float[Array, ""], setting: Setting
) -> Float[Array, ""]:
    """Return the objective L with a penalty smoothed by `softness` (0: STARRED's own)."""
    return (
        0.5 * jnp.sum(chi2(model, frame, setting)) + penalty(model.correction, frame.penalty, softness, _sum_type())[0]
    )


def _sum_type() -> DTypeLike:
    return jnp.result_type(float)


# ---------------------------------------------------------------- the analytic step


def fit_moffat(
    model: Model[Array],
    frame: Frame[Array],
    max_iterations: Int[Array, ""],
    tolerance: Float[Array, ""],
    setting: Setting,
) -> Result:
    """Fit Moffat, amplitudes, positions (and distortion) by Levenberg-Marquardt; the correction stays as it is.

    The stars' own blocks of three unknowns are eliminated from the normal equations first.
    """
    linearize = partial(_normal_equations, frame=frame, setting=setting)

    class State(NamedTuple):
        model: Model[Array]
        equations: _Equations
        value: Float[Array, ""]
        damping: Float[Array, ""]
        iterations: int | Int[Array, ""]
        converged: Bool[Array, ""]

    def step(state: State) -> State:
        trial = _bounded(_damped_step(state.model, state.equations, state.damping, setting), frame)
        equations, value = linearize(trial)
        better = (value < state.value) & jnp.isfinite(value)
        gain = jnp.where(better, state.value - value, jnp.inf)
        keep = partial(jax.tree.map, lambda new, old: jnp.where(better, new, old))
        damping = jnp.where(better, state.damping * 0.2, state.damping * 6.0)
        return State(
            keep(trial, state.model),
            keep(equations, state.equations),
            jnp.where(better, value, state.value),
            jnp.maximum(damping, 1e-9),
            state.iterations + 1,
            (gain < tolerance) | (damping > 1e9),
        )

    # The first step has length zero and computes the equations: so they are compiled only once.
    nothing, value = jax.tree.map(lambda part: jnp.zeros(part.shape, part.dtype), jax.eval_shape(linearize, model))
    start = State(model, nothing, value + jnp.inf, jnp.asarray(5e-2, frame.data.dtype), 0, jnp.asarray(False))
    end = jax.lax.while_loop(lambda s: ~s.converged & (s.iterations < max_iterations), step, start)
    return Result(end.model, end.value, end.iterations, end.converged & jnp.isfinite(end.value), 0, jnp.zeros(0))


def _normal_equations(
    model: Model[Array], frame: Frame[Array], setting: Setting
) -> tuple[_Equations, Float[Array, ""]]:
    """Return the normal equations and the value at `model`."""
    n, m = frame.data.shape[-1], model.correction.shape[-1]
    sub, fwhm = setting.subsampling, setting.fwhm

    def kernels(shared: Float[Array, " shared"]) -> Float[Array, "one_or_stars m m"]:
        kernel = moffat(shared[:4], m, sub, xp=jnp) + model.correction
        return _distorted(kernel, shared[4:], frame) if setting.distorted else kernel[None]

    shared = _shared(model, setting)
    kernel = kernels(shared)
    slopes = jnp.moveaxis(jax.jacfwd(kernels)(shared), -1, 0)
    rows, row_slopes = target_matrix_pair(model.y, n, sub, fwhm, xp=jnp)
    columns, column_slopes = target_matrix_pair(model.x, n, sub, fwhm, xp=jnp)
    transposed = jnp.swapaxes(columns, -1, -2)
    left = rows @ kernel
    image = left @ transposed
    amplitude = model.amplitude[:, None, None]
    own = jnp.stack(
        [
            image,
            amplitude * (left @ jnp.swapaxes(column_slopes, -1, -2)),
            amplitude * (row_slopes @ kernel @ transposed),
        ],
    )
    common = amplitude[None] * (rows @ slopes @ transposed)
    residual = frame.data - amplitude * image
    weighted = frame.inverse_variance * residual
    flat_own, flat_common = (v.reshape(*v.shape[:2], -1).swapaxes(0, 1) for v in (own, common))
    weight = frame.inverse_variance.reshape(len(residual), 1, -1)
    equations = _Equations(
        jnp.einsum("ksp,sp->k", flat_common.swapaxes(0, 1), weighted.reshape(len(residual), -1)),
        jnp.einsum("skp,sp->sk", flat_own, weighted.reshape(len(residual), -1)),
        jnp.sum((weight * flat_common) @ flat_common.swapaxes(-1, -2), axis=0),
        (weight * flat_common) @ flat_own.swapaxes(-1, -2),
        (weight * flat_own) @ flat_own.swapaxes(-1, -2),
    )
    value = 0.5 * jnp.sum(weighted * residual, dtype=_sum_type())
    return equations, value


def _distorted(
    kernel: Float[Array, "m m"], distortion: Float[Array, " 6"], frame: Frame[Array]
) -> Float[Array, "stars m m"]:
    """Return each star's kernel."""
    kernels: Array = jax.vmap(partial(distort, xp=jnp), (None, None, 0))(kernel, distortion, frame.position)
    return kernels


def _shared(model: Model[Array], setting: Setting) -> Float[Array, " shared"]:
    return jnp.concatenate([model.shape, model.distortion]) if setting.distorted else model.shape


def _damped_step(
    model: Model[Array], equations: _Equations, damping: Float[Array, ""], setting: Setting
) -> Model[Array]:
    """Return the model moved by one damped Gauss-Newton step."""
    shared_gradient, star_gradient, shared_hessian, mixed, star_hessian = equations

    def damped(hessian: Float[Array, "*stack p p"]) -> Float[Array, "*stack p p"]:
        diagonal: Array = jnp.diagonal(hessian, axis1=-2, axis2=-1)
        unit = jnp.broadcast_to(jnp.eye(hessian.shape[-1], dtype=hessian.dtype), hessian.shape)
        # A padded star has no curvature at all: the small constant keeps its block regular.
        return hessian + unit * (damping * diagonal + 1e-12)[..., None, :]

    inverse = jnp.linalg.inv(damped(star_hessian))
    projected = mixed @ inverse
    schur = damped(shared_hessian) - jnp.sum(projected @ mixed.swapaxes(-1, -2), axis=0)
    right = shared_gradient - jnp.einsum("skj,sj->k", projected, star_gradient)
    shared = jnp.linalg.solve(schur, right)
    stars = jnp.einsum("sij,sj->si", inverse, star_gradient - jnp.einsum("skj,k->sj", mixed, shared))
    distortion = model.distortion + shared[4:] if setting.distorted else model.distortion
    return model._replace(
        shape=model.shape + shared[:4],
        distortion=distortion,
        amplitude=model.amplitude + stars[:, 0],
        x=model.x + stars[:, 1],
        y=model.y + stars[:, 2],
    )


def _bounded(model: Model[Array], frame: Frame[Array]) -> Model[Array]:
    n, m = frame.data.shape[-1], model.correction.shape[-1]
    log_fwhm, e1, e2, log_beta = model.shape
    shape = jnp.stack(
        [
            jnp.clip(log_fwhm, math.log(0.5 * n / m), math.log(2.0 * n)),
            jnp.clip(e1, -_ELLIPTICITY, _ELLIPTICITY),
            jnp.clip(e2, -_ELLIPTICITY, _ELLIPTICITY),
            jnp.clip(log_beta, *_LOG_BETA),
        ]
    )
    return model._replace(
        shape=shape,
        amplitude=jnp.maximum(model.amplitude, 0.0),
        x=jnp.clip(model.x, -0.5 * n, 0.5 * n),
        y=jnp.clip(model.y, -0.5 * n, 0.5 * n),
        distortion=jnp.clip(model.distortion, -1.0, 1.0),
    )


# ---------------------------------------------------------------- the step of the pixels


def fit_pixels(
    model: Model[Array],
    frame: Frame[Array],
    softness: Float[Array, " stages"],
    tolerance: Float[Array, " stages"],
    stage: Int[Array, ""],
    max_evaluations: Int[Array, ""],
    setting: Setting,
) -> Result:
    """Fit the correction with amplitudes and positions; the Moffat is held, or free as :func:`_frees_moffat` has it.

    The softness of the penalty decreases in stages. `softness` and `tolerance` have a value for each; the fit begins
    with `stage`.
    """
    m = model.correction.shape[-1]
    stars = len(model.amplitude)
    data_weight = jnp.sum(frame.inverse_variance * (model.amplitude**2)[:, None, None], axis=0)
    detail = starlet_details(model.correction)
    pixels = pixel_scaling(frame.penalty, detail, data_weight, setting.subsampling, setting.fwhm)
    scale = _scales(model, frame, setting)
    analytic = moffat(model.shape, m, setting.subsampling, xp=jnp)

    def unpack(vector: Float[Array, " d"]) -> Model[Array]:
        correction = pixels.pixels(vector[: m * m].reshape(m, m))
        others = vector[m * m :] * scale
        a, x, y = others[: 3 * stars].reshape(3, stars)
        free = model._replace(correction=correction, amplitude=a, x=x, y=y)
        if not _frees_moffat(setting):
            return free
        distortion = others[3 * stars : -4] if setting.distorted else model.distortion
        return free._replace(distortion=distortion, shape=others[-4:])

    def by_formula(
        vector: Float[Array, " d"], softness: Float[Array, ""]
    ) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        here = unpack(vector)
        arguments = (here.amplitude, here.x, here.y, frame.data, frame.inverse_variance)
        value, slope = half_chi2(analytic + here.correction, *arguments, setting.subsampling, setting.fwhm, _sum_type())
        prior, prior_slope = penalty(here.correction, frame.penalty, softness, _sum_type())
        others = jnp.concatenate([slope.amplitude, slope.x, slope.y]) * scale
        return value + prior, jnp.concatenate([pixels.gradient(slope.kernel + prior_slope).ravel(), others])

    by_autodiff = jax.value_and_grad(lambda vector, softness: objective(unpack(vector), frame, softness, setting))
    function = by_autodiff if _frees_moffat(setting) else by_formula
    parts = [model.amplitude, model.x, model.y]
    if setting.distorted:
        parts.append(model.distortion)
    if _frees_moffat(setting):
        parts.append(model.shape)
    others = jnp.concatenate(parts) / scale
    start = jnp.concatenate([pixels.coordinates(model.correction).ravel(), others])
    end = minimize(
        function,
        start,
        max_evaluations=max_evaluations,
        tolerance=tolerance,
        course=softness,
        stage=stage,
        memory=_MEMORY_FREE if _frees_moffat(setting) else _MEMORY,
        patience=_PATIENCE,
    )
    return Result(unpack(end.position), end.value, end.evaluations, end.converged, end.stage, end.history)


def _frees_moffat(setting: Setting) -> bool:
    """Whether the pixels' step also fits the Moffat, which STARRED holds: where the minimum is hard to reach else."""
    return setting.distorted or setting.subsampling > 2


def _scales(model: Model[Array], frame: Frame[Array], setting: Setting) -> Float[Array, " others"]:
    """Return steps of amplitudes, x, y (distortion, Moffat) over which the objective changes by about one."""
    n = frame.data.shape[-1]
    sub, fwhm = setting.subsampling, setting.fwhm
    left = target_matrix(model.y, n, sub, fwhm, xp=jnp) @ narrow(model, setting)
    columns, slopes = target_matrix_pair(model.x, n, sub, fwhm, xp=jnp)
    image, slope = (left @ jnp.swapaxes(part, -1, -2) for part in (columns, slopes))
    for_amplitude = jnp.sum(frame.inverse_variance * image**2, axis=(-1, -2))
    for_position = model.amplitude**2 * jnp.sum(frame.inverse_variance * slope**2, axis=(-1, -2))

    def inverse_root(curvature: Float[Array, "*stack"]) -> Float[Array, "*stack"]:
        return jnp.where(curvature > 0, 1.0 / jnp.sqrt(jnp.maximum(curvature, 1e-30)), 1.0)

    parts = [inverse_root(for_amplitude), inverse_root(for_position), inverse_root(for_position)]
    if setting.distorted:
        parts.append(jnp.full(6, inverse_root(jnp.sum(for_position))))
    if _frees_moffat(setting):
        parts.append(jnp.full(4, inverse_root(jnp.sum(model.amplitude**2 * for_amplitude))))
    return jnp.concatenate(parts).astype(model.correction.dtype)


# ---------------------------------------------------------------- compiled


@lru_cache(maxsize=32)
def compiled(setting: Setting, batched: bool) -> tuple[Callable[..., Result], Callable[..., Result]]:
    """Return the compiled analytic and pixel steps, for one frame or for a batch of frames."""
    analytic = partial(fit_moffat, setting=setting)
    pixels = partial(fit_pixels, setting=setting)
    if batched:
        analytic = jax.vmap(analytic)
        pixels = jax.vmap(pixels)
    return jax.jit(analytic), jax.jit(pixels)
