"""The penalties of STARRED's objective for a region of interest, with their gradients, and the starlets' weights.

With E epochs and s small pixels across a data pixel they are

- starlets of the background: ``E / s^2 * sum(lambda W |Phi (h + mean sky)|)`` over the detail scales; the finest scale
  has a strength of its own;
- positivity: ``lambda E * sum(max(-h, 0))``, h in units of the data's largest value;
- starlets of the mean point sources, in the same form;
- the scatter of the steps between successive fluxes;
- Gaussian priors on positions and translations, and on the sky, where there are any.

|c| is replaced by ``sqrt(c^2 + eps^2) - eps`` in a gradient descent; it is exact where `smoothing` is 0.
"""

from __future__ import annotations

from itertools import pairwise

import attrs
import numpy as np
from jaxtyping import Float, Int

from lcframework.types import Floats, Ints
from plugins_builtin.engine.roi.blur import convolved
from plugins_builtin.engine.starlet import details, details_transposed, smoothing_matrices


@attrs.frozen
class Strengths:
    """The penalties' strengths, STARRED's lambdas."""

    scales: float = 1.0
    high_frequency: float = 1.0
    positivity: float = 100.0
    point_sources: float = 0.01
    flux_scatter: float = 0.0


@attrs.define(eq=False)
class Values:
    """The unknowns. Positions and translations are in data pixels, positions relative to the stamp's centre."""

    flux: Float[Floats, "e k"]
    c: Float[Floats, "k 2"]  # positions of the point sources
    translation: Float[Floats, "e 2"]
    sky: Float[Floats, " e"]  # e-/s a data pixel
    h: Float[Floats, "N N"]  # background, e-/s a small pixel

    def zeros(self) -> Values:
        """Return values of the same shapes that are all zero."""
        return Values(*(np.zeros_like(getattr(self, field.name)) for field in attrs.fields(Values)))


@attrs.frozen(eq=False)
class GaussianPriors:
    """Means and standard deviations; inf where there is no prior."""

    c: Float[Floats, "k 2"]
    c_sigma: Float[Floats, "k 2"]
    translation: Float[Floats, "e 2"]
    translation_sigma: Float[Floats, "e 2"]
    sky: tuple[Float[Floats, " e"], Float[Floats, " e"]] | None = None  # means and standard deviations

    def part(self, rows: Int[Ints, " rows"], scale: Float[Floats, " rows"]) -> GaussianPriors:
        """Return the priors of some epochs, each of which counts for `scale` of them."""
        root = np.sqrt(scale)
        sky = None if self.sky is None else (self.sky[0][rows], self.sky[1][rows] / root)
        return GaussianPriors(
            self.c, self.c_sigma, self.translation[rows], self.translation_sigma[rows] / root[:, None], sky
        )


def starlet_weights(
    inverse_variance: Float[Floats, "n n"], kernel: Float[Floats, "m m"], subsampling: int
) -> Float[Floats, "scales N N"]:
    """Return the standard deviation of each detail coefficient of ``B (n / sigma^2)`` for noise n.

    Parameters
    ----------
    inverse_variance : (n, n) array
        Sum over all epochs.
    kernel : (m, m) array
        Typical narrow PSF; B is the convolution with it.
    subsampling : int
        Small pixels across a data pixel.

    Notes
    -----
    STARRED estimates this with random numbers (``propagate_noise``); here it is in closed form. The variance of a
    linear map of independent pixels is the map of their variances with squared coefficients. The kernel is split into
    separable terms, so the map is a sum of products of 1-D operators, and its square a sum over pairs of them.
    """
    n = len(inverse_variance) * subsampling
    left, values, right = np.linalg.svd(kernel / kernel.sum())
    rank = int((values > 1e-3 * values[0]).sum())
    rows = [_same_convolution(n, left[:, r] * values[r]) for r in range(rank)]
    columns = [_same_convolution(n, right[r]) for r in range(rank)]
    variance = np.repeat(np.repeat(inverse_variance, subsampling, axis=0), subsampling, axis=1)
    smooth = np.concatenate([np.eye(n)[None], smoothing_matrices(n)])
    weights = []
    for finer, coarser in pairwise(smooth):
        terms = [(finer @ a, finer @ b) for a, b in zip(rows, columns, strict=True)]
        terms += [(-(coarser @ a), coarser @ b) for a, b in zip(rows, columns, strict=True)]
        total = np.zeros((n, n))
        for i, (a, b) in enumerate(terms):
            for j, (c, d) in enumerate(terms[: i + 1]):
                total += (1.0 if i == j else 2.0) * ((a * c) @ variance @ (b * d).T)
        weights.append(np.sqrt(np.maximum(total, 0.0)))
    return np.array(weights)


def slit_weights(
    inverse_variance: Float[Floats, "n n"], kernel: Float[Floats, "m m"], subsampling: int
) -> Float[Floats, "scales N N"]:
    """Return STARRED's approximation ("SLIT") of :func:`starlet_weights`, which its pipeline uses for regions.

    The approximation neglects the correlation of the noise by the convolution. It exceeds the exact weight at the
    finest scale, and is much smaller at the coarse ones, so that a galaxy's light is hardly penalised.
    """
    n = len(inverse_variance) * subsampling
    kernel = kernel / kernel.sum()
    noise = np.sqrt((kernel**2).sum() * np.repeat(np.repeat(inverse_variance, subsampling, 0), subsampling, 1))
    variance = convolved(noise, kernel) ** 2
    impulse = np.zeros((n, n))
    impulse[n // 2, n // 2] = 1.0
    wavelets = details(impulse)
    total = np.stack([convolved(variance, wavelet**2) for wavelet in wavelets])
    return np.asarray(np.sqrt(np.maximum(total, 0.0)))


def _same_convolution(n: int, kernel: Float[Floats, " m"]) -> Float[Floats, "{n} {n}"]:
    """Return the matrix of a 1-D convolution that keeps the size, zeros beyond the border."""
    taps = np.arange(n)[:, None] - np.arange(n)[None, :] + (len(kernel) - 1) // 2
    inside = (taps >= 0) & (taps < len(kernel))
    return np.where(inside, kernel[np.clip(taps, 0, len(kernel) - 1)], 0.0)


class Penalties:
    """The terms that the objective adds to half of chi2."""

    def __init__(
        self,
        used: Int[Ints, " used"],
        subsampling: int,
        unit: float,
        weights: Float[Floats, "scales N N"],
        strengths: Strengths,
        priors: GaussianPriors,
        counted: int | None = None,
    ) -> None:
        """Store the settings.

        Parameters
        ----------
        used : array of int
            Indices of the epochs with data.
        subsampling : int
            Small pixels across a data pixel.
        unit : float
            Unit of the penalty on negative pixels, e-/s.
        weights : (scales, N, N) array
            Weights of the starlets.
        strengths : Strengths
        priors : GaussianPriors
        counted : int, optional
            The number of epochs that the penalties are multiplied by; that of `used` where not given.
        """
        self.used, self.subsampling, self.unit = used, subsampling, unit
        self.weights, self.strengths, self.priors = weights, strengths, priors
        self.smoothing = 0.0
        self.kinks = True  # False leaves the background's penalties out
        self.scale = np.full(len(weights), strengths.scales)
        self.scale[0] = strengths.high_frequency
        self.epochs = len(used) if counted is None else counted
        self.penalty = self.scale[:, None, None] * weights * self.epochs / subsampling**2
        self.point_penalty = strengths.point_sources * weights * self.epochs / subsampling**2

    def _absolute(
        self, a: Float[Floats, "*shape"], slope: Float[Floats, "*shape"]
    ) -> tuple[Float[Floats, "*shape"], Float[Floats, "*shape"]]:
        """Return |a| and its derivative, smoothed so that the penalty `slope * |a|` is off by `smoothing` at most."""
        if self.smoothing == 0:
            return np.abs(a), np.sign(a)
        eps = self.smoothing / np.maximum(slope, 1e-30)
        root = np.sqrt(a * a + eps * eps)
        return root - eps, a / root

    def _starlet(
        self, image: Float[Floats, "N N"], penalty: Float[Floats, "scales N N"]
    ) -> tuple[float, Float[Floats, "N N"]]:
        absolute, sign = self._absolute(details(image), penalty)
        return float((penalty * absolute).sum()), details_transposed(penalty * sign)

    def __call__(
        self,
        values: Values,
        gradient: Values,
        sources: tuple[Float[Floats, "k N N"], Float[Floats, "k N N"], Float[Floats, "k N N"]],
    ) -> float:
        """Return the penalties and priors, and add their gradient.

        `sources` are unit point sources on the deconvolved image and their derivatives by c.
        """
        s, used = self.subsampling, self.used
        total = 0.0
        if self.kinks and (self.strengths.scales or self.strengths.high_frequency):
            # The mean sky, a small pixel's, is regularised with the background.
            level = values.sky[used].mean() / s**2
            value, slope = self._starlet(values.h + level, self.penalty)
            total += value
            gradient.h += slope
            gradient.sky[used] += slope.sum() / (s**2 * len(used))
        if self.kinks and self.strengths.positivity:
            strength = self.strengths.positivity * self.epochs / self.unit
            absolute, sign = self._absolute(values.h, np.full(values.h.shape, 0.5 * strength))
            total += strength * 0.5 * float((absolute - values.h).sum())
            gradient.h += strength * 0.5 * (sign - 1)
        if self.strengths.point_sources and len(values.c):
            mean = values.flux[used].mean(axis=0)
            value, slope = self._starlet(np.tensordot(mean, sources[0], 1), self.point_penalty)
            total += value
            gradient.flux[used] += np.tensordot(sources[0], slope, 2) / len(used)
            for axis in (0, 1):
                gradient.c[:, axis] += mean * np.tensordot(sources[1 + axis], slope, 2)
        if self.strengths.flux_scatter and len(used) > 1:
            total += self._flux_scatter(values, gradient)
        return total + self._gaussian_priors(values, gradient)

    def _flux_scatter(self, values: Values, gradient: Values) -> float:
        """Penalise the standard deviation of the relative steps from one epoch to the next."""
        flux = values.flux[self.used]
        strength = self.strengths.flux_scatter * self.epochs
        mean = np.abs(flux).mean(axis=0) + 1e-8 * self.unit
        steps = np.diff(flux / mean, axis=0)
        centred = steps - steps.mean(axis=0)
        scatter = np.sqrt((centred**2).mean(axis=0) + 1e-8)
        by_step = strength * centred / (len(steps) * scatter)
        by_ratio = np.zeros_like(flux)
        by_ratio[1:] += by_step
        by_ratio[:-1] -= by_step
        by_mean = -(by_ratio * flux).sum(axis=0) / mean**2
        gradient.flux[self.used] += by_ratio / mean + by_mean * np.sign(flux) / len(flux)
        return float(strength * scatter.sum())

    def _gaussian_priors(self, values: Values, gradient: Values) -> float:
        p = self.priors
        of_c = (values.c - p.c) / p.c_sigma**2
        of_t = np.zeros_like(values.translation)
        of_t[self.used] = ((values.translation - p.translation) / p.translation_sigma**2)[self.used]
        gradient.c += of_c
        gradient.translation += of_t
        total = 0.5 * float((of_c * (values.c - p.c)).sum() + (of_t * (values.translation - p.translation)).sum())
        if p.sky is not None:
            mean, sigma = (a[self.used] for a in p.sky)
            of_sky = (values.sky[self.used] - mean) / sigma**2
            gradient.sky[self.used] += of_sky
            total += 0.5 * float((of_sky * (values.sky[self.used] - mean)).sum())
        return total
