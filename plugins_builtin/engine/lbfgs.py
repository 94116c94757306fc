"""L-BFGS (Liu and Nocedal 1989, Math. Program. 45, 503) with one evaluation per iteration.

So it is a single loop on a device, and can be mapped over many problems.
"""

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
    """The end of a minimisation."""

    position: Float[Array, " d"]
    value: Float[Array, ""]
    evaluations: Int[Array, ""]
    converged: Bool[Array, ""]
    stage: Int[Array, ""]  # the last one
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
    """Minimise `function`, which returns value and gradient, from `start`; or a series of functions.

    A trial point is accepted where it decreases the value enough (Armijo's condition, with a slack for rounding), and
    gives a new direction. Otherwise the step along the same direction is shortened by a parabola. There is no inner
    loop. The minimisation has converged where the last `patience` evaluations together decreased the value by less than
    `tolerance`, or where no step along the gradient decreases it. With a `course` the next stage then starts from that
    point, with the present estimate of the curvature.

    Parameters
    ----------
    function : callable
        From a position, and an element of `course` where there is one, to value and gradient. Scale its argument so
        that its curvature is about one.
    start : (d,) array
        The first position.
    max_evaluations : int
        May be traced.
    tolerance : float or (stages,) array
        In the value's unit; may be traced.
    course : (stages,) array, optional
        The parameter in which the functions differ: a homotopy from an easy function to the wanted one.
    stage : int
        The index in `course` to begin with; may be traced.
    memory : int
        Number of pairs of steps and changes of the gradient from which the Hessian is estimated.
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

    def unfinished(state: _State) -> Bool[Array, ""]:
        return ~state.converged & (state.evaluations < max_evaluations)

    first = jnp.asarray(stage, jnp.int32)
    kind = jax.eval_shape(evaluate, start, first)[0].dtype
    tolerances = jnp.atleast_1d(jnp.asarray(tolerance, kind))
    end: _State = jax.lax.while_loop(unfinished, advance, _beginning(start, first, kind, memory, patience))
    converged = end.converged & jnp.isfinite(end.value)
    return Minimum(end.position, end.value, end.evaluations, converged, end.stage, end.history)


def _beginning(
    start: Float[Array, " d"], stage: Int[Array, ""], kind: np.dtype[np.floating], memory: int, patience: int
) -> _State:
    """Return a state whose first trial is the start, of infinite value before: so `function` is compiled only once."""
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
        # The first steps, without an estimate of the curvature, gain too little for a test of convergence.
        next_test=jnp.asarray(patience, jnp.int32),
        stage=stage,
        converged=jnp.asarray(False),
        history=jnp.full(HISTORY, jnp.nan, kind),
    )


def _trial(state: _State) -> Float[Array, " d"]:
    return state.position + state.step * state.direction


def _descend(state: _State, value: Float[Array, ""], gradient: Float[Array, " d"], slack: float) -> _State:
    """Return the state after the trial point's value and gradient: accepted, or with a shorter step.

    `converged` is True where no step along the gradient decreases the value.
    """
    kind, step = value.dtype, state.step  # values may be wider than positions
    slope = jnp.vdot(state.gradient, state.direction)
    allowed = state.value + (_ARMIJO * step * slope).astype(kind) + slack * jnp.abs(state.value)
    accepted = (value <= allowed) & jnp.isfinite(value)
    parabola = (-0.5 * slope * step**2).astype(kind) / (value - state.value - (slope * step).astype(kind))
    least, most = (0.1 * step).astype(kind), (0.5 * step).astype(kind)
    shorter = jnp.where(jnp.isfinite(parabola), jnp.clip(parabola, least, most), least)
    # No step along this direction decreases the value: drop the curvature and try the gradient once.
    stuck = ~accepted & (shorter < _SHORTEST)
    no_descent = stuck & (state.inverse_products[-1] == 0)

    state = _remember(state, _trial(state) - state.position, gradient - state.gradient, accepted)
    state = state._replace(
        position=jnp.where(accepted, _trial(state), state.position),
        value=jnp.where(accepted, value, state.value),
        gradient=jnp.where(accepted, gradient, state.gradient),
        inverse_products=jnp.where(stuck, 0.0, state.inverse_products),
        converged=no_descent,
    )
    renew = accepted | stuck
    direction = jnp.where(renew, _direction(state), state.direction)
    return state._replace(direction=direction, step=jnp.where(renew, 1.0, shorter).astype(state.position.dtype))


def _remember(state: _State, step: Float[Array, " d"], change: Float[Array, " d"], accepted: Bool[Array, ""]) -> _State:
    """Return the state with an accepted step and its change of gradient stored, where their product is positive."""
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
    """Count the evaluation and test for convergence; where a stage ended, start the next."""
    last = len(tolerance) - 1
    evaluations = before.evaluations + 1
    test = evaluations >= before.next_test
    settled = (test & (before.checkpoint - state.value < tolerance[before.stage])) | state.converged
    onward = settled & (before.stage < last) & (evaluations < max_evaluations)
    # A new stage begins like the first: with a step of length zero, from an infinite value.
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
    """Return minus the inverse Hessian times the gradient, by two loops over the stored pairs."""
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
