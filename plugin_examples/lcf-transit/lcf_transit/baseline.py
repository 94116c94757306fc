"""The baseline: which terms the light curve asks for, and the most probable transit with each set of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from lcf_transit.problem import Problem, design
from lcframework.types import Floats, LcfError

#: Terms of time. A longer series of them follows the transit itself.
TIMES = ("time", "time2")
#: A further term must lower the BIC by as much.
_WORTH = 2.0
#: The cost of what can't be.
_IMPOSSIBLE = 1e10


@attrs.frozen(eq=False)
class Best:
    """The most probable values with one baseline."""

    terms: tuple[str, ...]
    values: Mapping[str, float]
    bic: float


def best_fit(problem: Problem, terms: Sequence[str], start: Mapping[str, float]) -> Best:
    """Return the most probable values with a baseline, begun at some values.

    Raises
    ------
    LcfError
        Where the priors allow none.
    """
    from scipy.optimize import minimize

    likelihood, free = problem.likelihood(terms), problem.free
    step = problem.steps()

    def cost(vector: Floats) -> float:
        values = {**start, **dict(zip(free, (vector * step).tolist(), strict=True))}
        prior = problem.log_prior(values)
        return _IMPOSSIBLE if not np.isfinite(prior) else -(prior + problem.answer(likelihood, values).log_marginal)

    at = np.array([start[name] for name in free]) / step
    for _ in range(2):  # from its own end once more: a simplex may have collapsed
        simplex = np.vstack([at, at + np.eye(len(at))])
        found = minimize(cost, at, method="Nelder-Mead", options={
            "initial_simplex": simplex, "maxfev": 250 * len(free), "xatol": 0.02, "fatol": 0.02})  # fmt: skip
        at = found.x
    if found.fun >= _IMPOSSIBLE:
        raise LcfError(
            "no transit is as it is said to be: the planet must cross the star (impact parameter below 1 + Rp/Rs), "
            "a/Rs exceed 1 + Rp/Rs, and limb darkening keep u1 >= 0, u1 + u2 <= 1, u1 + 2 u2 >= 0"
        )
    values = {**start, **dict(zip(free, (at * step).tolist(), strict=True))}
    log_best = problem.answer(likelihood, values).log_best
    bic = (len(terms) + 1 + len(free)) * np.log(len(problem.series)) - 2 * log_best
    return Best(tuple(terms), values, float(bic))


def choose_baseline(problem: Problem, allowed: Sequence[str] | None = None) -> list[Best]:
    """Return the baselines that were tried, the chosen one first.

    Terms are added one at a time, each time the one that lowers the Bayesian information criterion most, as long as it
    does so by 2. The transit and the noise, its correlated part included, are fitted with each of them: else a slow
    variation would pass for a term, or the transit for one.

    Parameters
    ----------
    problem : Problem
        The transit.
    allowed : sequence of str, optional
        The terms to choose from; all that there are if left out.
    """
    there = [*TIMES, *problem.series.regressors]
    left = [name for name in there if allowed is None or name in allowed]
    chosen = best_fit(problem, (), problem.start())
    tried = [chosen]
    while left:
        more = [best_fit(problem, (*chosen.terms, name), chosen.values) for name in left if _in_turn(name, chosen)]
        tried += more
        better = min(more, key=lambda fit: fit.bic)
        if better.bic > chosen.bic - _WORTH:
            break
        left.remove(better.terms[-1])
        chosen = better
    return [chosen, *sorted((fit for fit in tried if fit is not chosen), key=lambda fit: fit.bic)]


def _in_turn(name: str, chosen: Best) -> bool:
    return name != "time2" or "time" in chosen.terms


def outliers(problem: Problem, best: Best, limit: float) -> Any:
    """Return which points lie so many robust standard deviations off the model, the correlated part included."""
    answer = problem.answer(problem.likelihood(best.terms), best.values, red=True)
    model = problem.transit(best.values) * (design(problem.series, best.terms) @ answer.coefficients) + answer.red
    pull = (problem.series.flux - model) / problem.series.error
    return np.abs(pull) > limit * 1.4826 * np.median(np.abs(pull))
