"""Outliers in a frame's stamps: cosmic rays that were not masked, and stars that are no point sources.

A pixel's residual alone does not distinguish a cosmic ray from an error of the PSF model. The other stars do: they
share the PSF, but not the cosmic ray.
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Bool, Float

from lcframework.types import Bools, Floats
from plugins_builtin.engine.robust import SIGMA_PER_MAD, robust_scatter

#: Relative error of a star's model that is accepted, as its PSF is not exactly the frame's.
MODEL_ERROR = 0.03

#: A star is no point source if more than this share of its pixels are outliers by the other stars.
MAX_FLAGGED = 0.08


@attrs.frozen(eq=False)
class Residuals:
    """The residuals of the stars of a frame from the model; masked pixels have no weight."""

    residual: Float[Floats, "stars n n"]
    inverse_variance: Float[Floats, "stars n n"]
    model: Float[Floats, "stars n n"]
    amplitude: Float[Floats, " stars"]

    @property
    def pixels(self) -> Float[Floats, " stars"]:
        """Return the number of pixels that are used of each star."""
        return np.asarray(np.sum(self.inverse_variance > 0, axis=(1, 2), dtype=float))

    @property
    def chi2(self) -> Float[Floats, " stars"]:
        """Return the stars' reduced chi2, nan where a star is not used."""
        pixels = self.pixels
        total = (self.inverse_variance * self.residual**2).sum(axis=(1, 2))
        return np.where(pixels > 0, total / np.maximum(pixels, 1.0), np.nan)

    @property
    def misfit(self) -> Float[Floats, " stars"]:
        """Return the residuals beyond the noise relative to the stars' signal, nan where a star is not used."""
        pixels = self.pixels
        excess = np.maximum((self.inverse_variance * self.residual**2).sum(axis=(1, 2)) - pixels, 0.0)
        signal = (self.inverse_variance * self.model**2).sum(axis=(1, 2))
        return np.where(pixels > 0, np.sqrt(excess / np.maximum(signal, 1e-30)), np.nan)


def outlying_pixels(
    stars: Residuals, threshold: float, misfit: Float[Floats, "stars n n"] | float = 0.0
) -> Bool[Bools, "stars n n"]:
    """Return pixels whose residual is neither noise nor an error of the PSF that the other stars have there too.

    With residuals r (clipped at `threshold` sigma), inverse variances w and amplitudes a, the other stars predict
    ``e_i = a_i sum(a_j w_j r_j) / sum(a_j^2 w_j)`` with variance ``a_i^2 / sum(a_j^2 w_j)``. A pixel is flagged where
    its residual is beyond `threshold` sigma of noise alone, and beyond `threshold` sigma of this prediction. Sigma is
    enlarged to the scatter of the other stars' deviations near that pixel: where a PSF changes over the frame, or is
    undersampled, all stars deviate in their cores. The eight neighbours of a flagged pixel are flagged beyond half the
    threshold.

    Parameters
    ----------
    stars : Residuals
        Of all stars of the frame.
    threshold : float
        Sigma.
    misfit : (stars, n, n) array
        What bright stars usually deviate by at such a pixel beyond the noise, in the unit of the data: a part of sigma.

    Returns
    -------
    (stars, n, n) bool array
    """
    weight = stars.inverse_variance / (1.0 + stars.inverse_variance * misfit**2)
    score = stars.residual * np.sqrt(weight)
    clipped = np.clip(score, -threshold, threshold) * np.sqrt(weight)
    amplitude = stars.amplitude[:, None, None]
    lever, power = amplitude * clipped, amplitude**2 * weight
    others, others_power = lever.sum(axis=0) - lever, power.sum(axis=0) - power
    known = (weight > 0) & (others_power > 1e-9 * power.max(initial=1e-30))
    safe = np.where(known, others_power, 1.0)
    variance = 1.0 / np.where(weight > 0, weight, 1.0) + amplitude**2 / safe + (MODEL_ERROR * stars.model) ** 2
    deviation = np.where(known, np.abs(stars.residual - amplitude * others / safe) / np.sqrt(variance), np.nan)
    distance = np.where(known, np.minimum(np.abs(score), deviation), 0.0)
    candidates = distance > 0.5 * threshold
    if not (distance > threshold).any():
        return np.zeros(candidates.shape, bool)
    distance[candidates] /= _usual_deviation(deviation, candidates)
    core = candidates & (distance > threshold)
    near = np.nanmax(_neighbours(core.astype(float)), axis=1) > 0
    outlying: Bools = core | (near & candidates & (distance > 0.5 * threshold))
    return outlying


def _usual_deviation(
    deviation: Float[Floats, "stars n n"], candidates: Bool[Bools, "stars n n"]
) -> Float[Floats, " candidates"]:
    """Return the scatter of the other stars' deviations within a pixel of each candidate pixel, at least 1."""
    around = _neighbours(deviation)
    star, row, column = np.nonzero(candidates)
    values = around[:, :, row, column]
    values[star, :, np.arange(len(star))] = np.nan
    values = np.sort(values.reshape(-1, len(star)), axis=0)
    count = np.isfinite(values).sum(axis=0)
    median = values[np.maximum(count - 1, 0) // 2, np.arange(len(star))]
    return np.maximum(1.0, np.where(count > 0, median, 0.0) * SIGMA_PER_MAD)


def _neighbours(images: Float[Floats, "stars n n"]) -> Float[Floats, "stars 9 n n"]:
    """Return images moved by each step of up to one pixel along both axes; nan beyond the border."""
    n = images.shape[-1]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    return np.stack([padded[:, i : i + n, j : j + n] for i in range(3) for j in range(3)], axis=1)


def unlike_stars(stars: Residuals, flagged: Bool[Bools, "stars n n"], threshold: float) -> dict[int, str]:
    """Return the stars that do not look like the others, each with the reason.

    A star is dropped for either of two reasons: far more of its pixels are flagged than is usual in the frame; or its
    reduced chi2 is more than `threshold` robust standard deviations above the median, and its misfit is large also
    relative to its light. (Of stars with the same relative misfit the brightest has the largest chi2, and is the most
    useful.) At least three stars stay, and at least half.

    Parameters
    ----------
    stars : Residuals
        Of all stars of the frame.
    flagged : (stars, n, n) bool array
        From :func:`outlying_pixels`.
    threshold : float
        Robust standard deviations.
    """
    used = np.flatnonzero(stars.pixels > 0)
    if len(used) < 4:
        return {}
    share = flagged.sum(axis=(1, 2)) / np.maximum(stars.pixels, 1.0)
    kept = stars.inverse_variance * ~flagged
    clean = Residuals(stars.residual, kept, stars.model, stars.amplitude)
    chi2, misfit = clean.chi2, clean.misfit
    centre = np.median(chi2[used])
    spread = robust_scatter(chi2[used]) + np.sqrt(2.0 / np.median(stars.pixels[used]))
    typical = float(np.median(misfit[used]))
    too_many = max(MAX_FLAGGED, 4.0 * float(np.median(share[used])))
    reasons: dict[int, str] = {}
    for i in used.tolist():
        if share[i] > too_many:
            reasons[i] = f"{share[i]:.0%} of its pixels can't be the PSF of the other stars: a double, or no star"
        elif chi2[i] > max(centre + threshold * spread, 2.0 * centre) and misfit[i] > max(3.0 * typical, MODEL_ERROR):
            reasons[i] = (
                f"reduced chi2 {chi2[i]:.2f} where the others' median is {centre:.2f}: it does not look like them"
            )
    excess = np.maximum(share / too_many, misfit / max(3.0 * typical, MODEL_ERROR))
    worst = sorted(reasons, key=lambda i: -float(excess[i]))
    may_go = min(len(used) - 3, len(used) // 2)
    return {i: reasons[i] for i in sorted(worst[:may_go])}
