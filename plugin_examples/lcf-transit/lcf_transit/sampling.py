"""Draws from the posterior of a transit's parameters, over all baselines that the light curve leaves open."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import attrs
import numpy as np

from lcf_transit.baseline import Best
from lcf_transit.problem import Problem
from lcframework.types import Floats

#: Baselines of less weight are left aside.
LEAST_WEIGHT = 0.05


@attrs.frozen(eq=False)
class Samples:
    """Draws from the posterior: `chain` (m, p) of the free parameters `names`; all others are fixed."""

    names: tuple[str, ...]
    chain: Floats
    weights: tuple[tuple[tuple[str, ...], float], ...]  # the terms of each baseline, and its part of the draws
    steps: int  # with each baseline
    autocorrelation: float  # steps; the longest of all parameters

    def of(self, name: str, otherwise: float) -> Floats:
        """Return the draws of a parameter; `otherwise` where it is fixed."""
        return self.chain[:, self.names.index(name)] if name in self.names else np.full(len(self.chain), otherwise)


def sample(problem: Problem, tried: Sequence[Best], steps: int, walkers: int, seed: int) -> Samples:
    """Draw from the posteriors with several baselines, from each as its BIC weighs (Gibson 2014, MNRAS 445, 3401).

    With the best one alone, the errors would lack that a light curve seldom tells the terms of its baseline apart: a
    parabola in time that is left out changes the depth by several of its errors.
    """
    weights = baseline_weights(tried)
    rng = np.random.default_rng(seed)
    parts, times = [], []
    for fit, weight in weights:
        chain, time = _chain(problem, fit, steps, walkers, seed)
        parts.append(chain[rng.choice(len(chain), max(1, round(weight * len(chain))), replace=False)])
        times.append(time)
    told = tuple((fit.terms, weight) for fit, weight in weights)
    return Samples(problem.free, np.concatenate(parts), told, steps, max(times))


def baseline_weights(tried: Sequence[Best]) -> list[tuple[Best, float]]:
    """Return the baselines that count, with weights whose sum is 1: exp(-BIC / 2)."""
    raw = np.exp(-0.5 * (np.array([fit.bic for fit in tried]) - min(fit.bic for fit in tried)))
    kept = raw / raw.sum() >= LEAST_WEIGHT
    total = float(raw[kept].sum())
    return [(fit, float(w) / total) for fit, w, good in zip(tried, raw, kept, strict=True) if good]


def _chain(problem: Problem, fit: Best, steps: int, walkers: int, seed: int) -> tuple[Floats, float]:
    """Return draws with one baseline, by emcee, less the first third; and over how many steps they hang together."""
    import emcee

    likelihood, free = problem.likelihood(fit.terms), problem.free

    def log_probability(vector: Floats) -> float:
        values = {**fit.values, **dict(zip(free, vector.tolist(), strict=True))}
        prior = problem.log_prior(values)
        if not np.isfinite(prior):
            return -np.inf
        try:
            return float(prior + problem.answer(likelihood, values).log_marginal)
        except np.linalg.LinAlgError:
            return -np.inf

    rng = np.random.default_rng(seed)
    at, step = np.array([fit.values[name] for name in free]), problem.steps()
    draws = (at + 0.3 * step * rng.standard_normal(len(free)) for _ in itertools.count())
    good = (draw for draw in draws if np.isfinite(log_probability(draw)))
    start = np.array(list(itertools.islice(good, max(walkers, 2 * len(free) + 2))))
    sampler = emcee.EnsembleSampler(len(start), len(free), log_probability)
    sampler.random_state = np.random.RandomState(seed).get_state()
    sampler.run_mcmc(start, steps)
    time = float(np.max(sampler.get_autocorr_time(tol=0, quiet=True)))
    return sampler.get_chain(discard=steps // 3, flat=True), time
