"""L-BFGS with one evaluation an iteration, so that it runs as one loop on a device and maps over problems cleanly."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

#: Length of the recorded history; later values overwrite its last element.
HISTORY = 400

_ARMIJO = 1e-4
_SHORTEST = 1e-8


class Minimum(NamedTuple):
    """Where a minimisation ended."""

    position: Float[Array, " d"]
    value: Float[Array, ""]
    evaluations: Int[Array, ""]
    converged: Bool[Array, ""]
    stage: Int[Array, ""]  # the last that was worked on
    history: Float[Array, " history"]  # values after each evaluation, nan where there was none


class _State(NamedTuple):
    position: Float[Array, " d"]
    value: Float[Array, ""]
    gradient: Float[Array, " d"]
    direction: Float[Array, " d"]
    step: Float[Array, ""]
    steps: Float[Array, "memory d"]
    changes: Float[Array, "memory d"]
    inverse_products: Float[Array, " memory"]  # 1 / (step . change), 0 where empty
    scale: Float[Array, ""]  # of the initial inverse Hessian
    evaluations: Int[Array, ""]
    checkpoint: Float[Array, ""]  # value at the last convergence test
    next_test: Int[Array, ""]
    stage: Int[Array, ""]
    converged: Bool[Array, ""]
    history: Float[Array, " history"]


def minimize(
    function: Callable[..., tuple[Float[Array, ""], Float[Array, " d"]]],
    start: Float[Array, " d"],
    *,
    max_evaluations: int | Int[Array, ""],
    tolerance: float | Float[Array, "#stages"],
    course: Float[Array, " stages"] | None = None,
    stage: int | Int[Array, ""] = 0,
    memory: int = 8,
    patience: int = 10,
    slack: float = 1e-7,
) -> Minimum:
    """Minimise `function`, which returns value and gradient, from `start`; or several functions, one after the other.

    A trial point that decreases the value enough (Armijo, with a slack relative to the value for rounding) is accepted
    and gives a new direction; else the step along the same direction is shortened by a parabola. There is no inner
    loop. Converged means that the last `patience` evaluations together gained less than `tolerance`, or that no step
    along the gradient itself helps. With a `course` the next stage then begins where this one ended, with the curvature
    learnt so far.

    Parameters
    ----------
    function : callable
        From a position, and an element of `course` where there is one, to value and gradient. Scale its argument so
        that its curvature is about one.
    start : array
    max_evaluations : int
        May be traced.
    tolerance : float or array
        In the value's unit; may be traced.
    course : array, optional
        What distinguishes the functions: a homotopy from an easy one to the one that counts.
    stage : int
        Where on the course to begin; may be traced.
    memory : int
        Pairs that the Hessian is made from.
    patience : int
        Evaluations between two tests of convergence.
    slack : float
        Relative increase of the value that still counts as none.
    """

    def evaluate(position: Float[Array, " d"], stage: Int[Array, ""]) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        return function(position) if course is None else function(position, course[stage])

    def advance(state: _State) -> _State:
        tried = _descend(state, *evaluate(_trial(state), state.stage), slack)
        return _advance(state, tried, tolerances, patience, max_evaluations)

    def going(state: _State) -> Bool[Array, ""]:
        return ~state.converged & (state.evaluations < max_evaluations)

    first = jnp.asarray(stage, jnp.int32)
    kind = jax.eval_shape(evaluate, start, first)[0].dtype
    tolerances = jnp.atleast_1d(jnp.asarray(tolerance, kind))
    end: _State = jax.lax.while_loop(going, advance, _beginning(start, first, kind, memory, patience))
    converged = end.converged & jnp.isfinite(end.value)
    return Minimum(end.position, end.value, end.evaluations, converged, end.stage, end.history)


def _beginning(
    start: Float[Array, " d"], stage: Int[Array, ""], kind: np.dtype[np.floating], memory: int, patience: int
) -> _State:
    """Return the state whose first trial is the start itself, and any value lower: `function` is compiled only once."""
    empty = jnp.zeros((memory, start.size), start.dtype)
    nothing = jnp.zeros_like(start)
    unknown = jnp.asarray(jnp.inf, kind)
    return _State(
        position=start,
        value=unknown,
        gradient=nothing,
        direction=nothing,
        step=jnp.zeros((), start.dtype),
        steps=empty,
        changes=empty,
        inverse_products=jnp.zeros(memory, start.dtype),
        scale=jnp.ones((), start.dtype),
        evaluations=jnp.asarray(0, jnp.int32),
        checkpoint=unknown,
        # The first steps, without any curvature learnt, gain too little to tell convergence by.
        next_test=jnp.asarray(patience, jnp.int32),
        stage=stage,
        converged=jnp.asarray(False),
        history=jnp.full(HISTORY, jnp.nan, kind),
    )


def _trial(state: _State) -> Float[Array, " d"]:
    return state.position + state.step * state.direction


def _descend(state: _State, value: Float[Array, ""], gradient: Float[Array, " d"], slack: float) -> _State:
    """Return the state after the trial point's value and gradient: accepted, or with a shorter step.

    `converged` says that no step along the gradient itself helps.
    """
    kind, step = value.dtype, state.step  # values may be wider than positions
    slope = jnp.vdot(state.gradient, state.direction)
    allowed = state.value + (_ARMIJO * step * slope).astype(kind) + slack * jnp.abs(state.value)
    accepted = (value <= allowed) & jnp.isfinite(value)
    parabola = (-0.5 * slope * step**2).astype(kind) / (value - state.value - (slope * step).astype(kind))
    least, most = (0.1 * step).astype(kind), (0.5 * step).astype(kind)
    shorter = jnp.where(jnp.isfinite(parabola), jnp.clip(parabola, least, most), least)
    # A direction along which nothing helps any more: forget the curvature and follow the gradient once.
    stuck = ~accepted & (shorter < _SHORTEST)
    hopeless = stuck & (state.inverse_products[-1] == 0)

    state = _remember(state, _trial(state) - state.position, gradient - state.gradient, accepted)
    state = state._replace(
        position=jnp.where(accepted, _trial(state), state.position),
        value=jnp.where(accepted, value, state.value),
        gradient=jnp.where(accepted, gradient, state.gradient),
        inverse_products=jnp.where(stuck, 0.0, state.inverse_products),
        converged=hopeless,
    )
    renew = accepted | stuck
    direction = jnp.where(renew, _direction(state), state.direction)
    return state._replace(direction=direction, step=jnp.where(renew, 1.0, shorter).astype(state.position.dtype))


def _remember(state: _State, step: Float[Array, " d"], change: Float[Array, " d"], accepted: Bool[Array, ""]) -> _State:
    """Return the state with an accepted step and its change of the gradient in memory, where these show a curvature."""
    product = jnp.vdot(step, change)
    curved = accepted & (product > 1e-10 * jnp.linalg.norm(step) * jnp.linalg.norm(change))

    def latest(kept: Float[Array, "memory ..."], new: Float[Array, " ..."]) -> Float[Array, "memory ..."]:
        return jnp.where(curved, jnp.roll(kept, -1, 0).at[-1].set(new), kept)

    return state._replace(
        steps=latest(state.steps, step),
        changes=latest(state.changes, change),
        inverse_products=latest(state.inverse_products, 1.0 / product),
        scale=jnp.where(curved, product / jnp.vdot(change, change), state.scale),
    )


def _advance(
    before: _State,
    state: _State,
    tolerance: Float[Array, " stages"],
    patience: int,
    max_evaluations: int | Int[Array, ""],
) -> _State:
    """Count the evaluation and test for convergence; where a stage ended, return the beginning of the next."""
    last = len(tolerance) - 1
    evaluations = before.evaluations + 1
    test = evaluations >= before.next_test
    settled = (test & (before.checkpoint - state.value < tolerance[before.stage])) | state.converged
    onward = settled & (before.stage < last) & (evaluations < max_evaluations)
    # A new stage begins like the first: with a step of length zero from a value that any is lower than.
    return state._replace(
        value=jnp.where(onward, jnp.inf, state.value),
        step=jnp.where(onward, 0.0, state.step).astype(state.step.dtype),
        evaluations=evaluations,
        checkpoint=jnp.where(onward, jnp.inf, jnp.where(test, state.value, before.checkpoint)),
        next_test=jnp.where(onward, evaluations + 1, jnp.where(test, before.next_test + patience, before.next_test)),
        stage=before.stage + onward.astype(before.stage.dtype),
        converged=settled & (before.stage == last),
        history=before.history.at[jnp.minimum(evaluations - 1, HISTORY - 1)].set(state.value),
    )


def _direction(state: _State) -> Float[Array, " d"]:
    """Return minus the inverse Hessian times the gradient (two loops over the remembered pairs)."""
    gradient, steps, changes, inverses = state.gradient, state.steps, state.changes, state.inverse_products
    memory = steps.shape[0]

    def backward(k: Int[Array, ""], carry: tuple[Array, Array]) -> tuple[Array, Array]:
        q, alphas = carry
        index = memory - 1 - k
        alpha = inverses[index] * jnp.vdot(steps[index], q)
        return q - alpha * changes[index], alphas.at[index].set(alpha)

    def forward(index: Int[Array, ""], carry: tuple[Array, Array]) -> tuple[Array, Array]:
        q, alphas = carry
        beta = inverses[index] * jnp.vdot(changes[index], q)
        return q + steps[index] * jnp.where(inverses[index] > 0, alphas[index] - beta, 0.0), alphas

    carry = jax.lax.fori_loop(0, memory, backward, (gradient, jnp.zeros(memory, gradient.dtype)))
    scaled = jnp.where(inverses[-1] > 0, state.scale, 1.0) * carry[0]
    ascent: Array = jax.lax.fori_loop(0, memory, forward, (scaled, carry[1]))[0]
    return -ascent
