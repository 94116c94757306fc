from __future__ import annotations

import numpy as np
import pytest

from plugins_builtin.engine.lbfgs import minimize
from plugins_builtin.engine.precision import double_precision


@pytest.fixture
def rosenbrock():
    import jax
    import jax.numpy as jnp

    def function(x):
        return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    return jax.value_and_grad(function)


def test_reaches_a_known_minimum(rosenbrock):
    import jax
    import jax.numpy as jnp

    with double_precision():
        run = jax.jit(lambda x: minimize(rosenbrock, x, max_evaluations=500, tolerance=1e-14))
        end = run(jnp.zeros(6))
        position, history = np.asarray(end.position), np.asarray(end.history)
    assert bool(end.converged)
    np.testing.assert_allclose(position, 1.0, atol=1e-5)
    spent = int(end.evaluations)
    assert spent < 200
    assert np.isfinite(history[:spent]).all()
    assert np.isnan(history[spent:]).all()
    assert (np.diff(history[:spent]) <= 1e-6).all()


def test_bound_counts_evaluations(rosenbrock):
    import jax.numpy as jnp

    end = minimize(rosenbrock, jnp.zeros(6), max_evaluations=7, tolerance=0.0)
    assert int(end.evaluations) == 7
    assert not bool(end.converged)


def test_value_that_is_not_finite_is_no_convergence():
    import jax.numpy as jnp

    end = minimize(lambda x: (x[0] * jnp.nan, x * jnp.nan), jnp.ones(3), max_evaluations=50, tolerance=0.0)
    assert not bool(end.converged)
    assert int(end.evaluations) == 1


@pytest.fixture
def rounded():
    """Least squares with a penalty on the absolute value, rounded: its minimum is at max(b - 1, 0) without rounding."""
    import jax
    import jax.numpy as jnp

    def function(x, softness):
        aim = jnp.asarray([3.0, 2.0, 0.5, -0.2, 1.5], x.dtype)
        return jnp.sum(0.5 * (x - aim) ** 2 + jnp.sqrt(x**2 + softness**2) - softness)

    return jax.value_and_grad(function)


def test_a_course_ends_at_the_minimum_of_its_last_function(rounded):
    """Also where it is interrupted and taken up again, as batches of frames are."""
    import jax
    import jax.numpy as jnp

    with double_precision():
        course, tolerance = jnp.asarray([1.0, 1e-2, 1e-4]), jnp.asarray([1e-3, 1e-6, 1e-12])

        @jax.jit
        def run(position, stage, bound):
            return minimize(
                rounded, position, max_evaluations=bound, tolerance=tolerance, course=course, stage=stage, patience=5
            )

        for bound, accuracy in ((500, 1e-3), (12, 1e-2)):
            position, stage, spent, converged = jnp.zeros(5), 0, 0, False
            while not converged and spent < 500:
                end = run(position, stage, bound)
                assert np.isfinite(float(end.value))
                position, stage, converged = end.position, end.stage, bool(end.converged)
                spent += int(end.evaluations)
            np.testing.assert_allclose(np.asarray(position), [2.0, 1.0, 0.0, 0.0, 0.5], atol=accuracy)
            assert converged
            assert int(stage) == 2
