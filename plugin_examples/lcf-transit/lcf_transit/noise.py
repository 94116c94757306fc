"""The noise of a light curve, white and correlated, and what is left of the baseline once it is known.

The errors are scaled by a factor, and a Gaussian process with a Matern 3/2 covariance is added to them (Gibson et al.
2012, MNRAS 419, 2683): what varies within minutes to hours without being described by the baseline. The baseline's
coefficients are linear, and integrated over exactly.
"""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.types import Floats


@attrs.frozen
class Noise:
    """The scale of the stated errors, and amplitude (relative flux) and time scale (d) of the correlated part."""

    scale: float
    red: float
    timescale: float


@attrs.frozen(eq=False)
class Answer:
    """What a light curve says under a model of its noise.

    Attributes
    ----------
    log_marginal : float
        Logarithm of the likelihood, integrated over the baseline's coefficients (their priors are flat).
    log_best : float
        The same at the best coefficients.
    coefficients : (k,) array
        The best ones.
    red : (n,) array
        The correlated part as it is expected by what is seen.
    """

    log_marginal: float
    log_best: float
    coefficients: Floats
    red: Floats


class Likelihood:
    """The likelihood of fluxes under a transit, a linear baseline and noise.

    Parameters
    ----------
    time, flux, error : (n,) arrays
        d, relative flux.
    baseline : (n, k) array
        What the flux out of transit is a linear combination of.
    """

    def __init__(self, time: Floats, flux: Floats, error: Floats, baseline: Floats) -> None:
        self._flux, self._variance, self._baseline = flux, error**2, baseline
        self._apart = np.abs(time[:, None] - time[None, :]) * np.sqrt(3.0)

    def __call__(self, transit: Floats, noise: Noise, red: bool = False) -> Answer:
        """Return what the fluxes say; `red`: also the correlated part.

        Parameters
        ----------
        transit : (n,) array
            Relative flux in transit.
        noise : Noise
            Of which amplitudes and time scale are positive.
        red : bool
            Whether the correlated part is wanted.

        Raises
        ------
        numpy.linalg.LinAlgError
            Where the covariance has no inverse.
        """
        from scipy.linalg import cho_factor, cho_solve, solve_triangular

        steps = self._apart / noise.timescale
        correlated = noise.red**2 * (1 + steps) * np.exp(-steps)
        covariance = correlated.copy()
        n = len(self._flux)
        covariance.flat[:: n + 1] += noise.scale**2 * self._variance
        factor = cho_factor(covariance, lower=True, overwrite_a=True, check_finite=False)
        both = np.column_stack([self._flux, transit[:, None] * self._baseline])
        whitened = solve_triangular(factor[0], both, lower=True, check_finite=False)
        y, design = whitened[:, 0], whitened[:, 1:]
        normal = cho_factor(design.T @ design, lower=True)
        coefficients = cho_solve(normal, design.T @ y)
        chi2 = float(np.sum((y - design @ coefficients) ** 2))
        best = -0.5 * chi2 - float(np.log(np.diag(factor[0])).sum()) - 0.5 * n * np.log(2 * np.pi)
        k = design.shape[1]
        marginal = best - float(np.log(np.diag(normal[0])).sum()) + 0.5 * k * np.log(2 * np.pi)
        left = np.zeros(0)
        if red:
            residual = self._flux - transit * (self._baseline @ coefficients)
            left = correlated @ cho_solve(factor, residual)
        return Answer(marginal, best, coefficients, left)


def beta(time: Floats, residual: Floats, shortest: float = 10 / 1440, longest: float = 30 / 1440) -> float:
    """Return by how much binned residuals scatter more than white noise would (Winn et al. 2008, AJ 136, 267).

    The median over bins from `shortest` to `longest`, d; 1 for white noise.
    """
    step = float(np.median(np.diff(time)))
    sizes = [n for n in range(2, len(time) // 5 + 1) if shortest <= n * step <= longest] or [2]
    ratios = []
    for n in sizes:
        m = len(residual) // n
        means = residual[: m * n].reshape(m, n).mean(axis=1)
        expected = np.std(residual) / np.sqrt(n) * np.sqrt(m / max(m - 1, 1))
        ratios.append(np.std(means) / expected)
    return max(1.0, float(np.median(ratios)))
