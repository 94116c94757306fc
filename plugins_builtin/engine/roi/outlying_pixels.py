"""Pixels too far from the model for noise: which are left out, and which show an error of the model instead."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from lcframework.types import Bools, Floats, Ints
from plugins_builtin.engine.robust import scatter_about_zero


def suspects(z: Float[Floats, "ny nx"], threshold: float) -> Int[Ints, "ny nx"]:
    """Return the sign of residuals `z` (sigma) beyond `threshold`, and of their like neighbours beyond half; else 0."""
    from scipy.ndimage import binary_dilation

    if np.mean(np.abs(z) > threshold) > 0.1:
        return np.zeros(z.shape, np.int8)  # so many are a misfit, not outliers; the reduced chi2 shows it
    signs = np.zeros(z.shape, np.int8)
    for sign in (1, -1):
        beside = binary_dilation(sign * z > threshold, np.ones((3, 3))) & (sign * z > 0.5 * threshold)
        signs[beside] = sign
    return signs


def persistent(signs: Int[Ints, "e ny nx"]) -> Bool[Bools, "2 ny nx"]:
    """Return in which pixels more than a quarter of the epochs have suspects of one sign, in the pixel or next to it.

    These are errors of the model, not cosmic rays. Where a cosmic ray has spoilt the model, one epoch is above the
    model and the others are below it.

    Parameters
    ----------
    signs : (e, ny, nx) array
        From :func:`suspects`.

    Returns
    -------
    (2, ny, nx) bool array
        For suspects above, and below, the model.
    """
    from scipy.ndimage import maximum_filter

    near = [maximum_filter(signs == sign, size=(1, 3, 3)).sum(axis=0) for sign in (1, -1)]
    return np.array(near) > max(2, 0.25 * len(signs))


def not_persistent(signs: Int[Ints, "*stack ny nx"], lasting: Bool[Bools, "2 ny nx"]) -> Bool[Bools, "*stack ny nx"]:
    """Return the suspects that are not persistent; `lasting` is from :func:`persistent`."""
    return np.asarray(((signs > 0) & ~lasting[0]) | ((signs < 0) & ~lasting[1]))


def relative_model_error(
    z: Float[Floats, " pixels"], image: Float[Floats, " pixels"], sigma: Float[Floats, " pixels"]
) -> float:
    """Return the model's relative error (0 to 0.2), measured on the residuals of pixels of high signal.

    Parameters
    ----------
    z, image, sigma : (pixels,) arrays
        Residuals in sigma, model above the sky, and noise.
    """
    bright = image > 15 * sigma
    if bright.sum() < 20:
        return 0.02
    ratio = (z * sigma / np.maximum(image, 1e-30))[bright]
    spread = scatter_about_zero(ratio)
    noise = np.median((sigma / np.maximum(image, 1e-30))[bright])
    return float(np.clip(np.sqrt(max(spread**2 - noise**2, 0.0)), 0.005, 0.2))
