"""STARRED's own Loss of two PSFs of a frame: lightcurver's, and ours for the same stamps, masks, noise and weights.

Used by versus_lightcurver.py, on what peer_driver.py wrote down, and by the test that holds our objective to STARRED's.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from plugins_builtin.engine.precision import double_precision
from plugins_builtin.engine.psf.distortion import NAMES
from plugins_builtin.engine.psf.fit import Limits, begin_frames, run_fits
from plugins_builtin.engine.psf.model import Setting
from plugins_builtin.engine.psf.moffat import to_starred

_GROUPS = ("kwargs_moffat", "kwargs_gaussian", "kwargs_background", "kwargs_distortion")


class _Direct:
    """Stands for STARRED's parameters: hands keyword arguments through."""

    args2kwargs = staticmethod(lambda kwargs: kwargs)


def compare(path: Path) -> tuple[float, float]:
    """Return STARRED's Loss of lightcurver's PSF, and of ours."""
    import jax
    import jax.numpy as jnp

    with np.load(path) as stored:
        given = {name: stored[name] for name in stored.files}
    good, weights = given["masks"] > 0, np.asarray(given["weights"], float)
    data = np.where(good, given["image"], 0.0)
    noise = np.where(good, given["noisemap"], np.median(given["noisemap"][good]))
    setting = Setting(int(given["subsampling"]), 2.0, False)
    limits = Limits(max_masked=1.0, outliers=0.0, stars=0.0)  # all of its pixels and stars
    nowhere = np.zeros((1, len(data), 2))
    (fit,) = begin_frames(
        data[None], noise[None], ~good[None], nowhere, np.array([float(given["seeing"])]), nowhere, setting, limits
    )
    norm = float(np.nanpercentile(given["image"], 99.0))  # by which STARRED divides
    scale = fit.prepared.unit / norm
    penalty = len(data) / setting.subsampling**2 * scale * weights[:-1]
    fit.prepared = attrs.evolve(fit.prepared, penalty=penalty)
    run_fits([fit], setting, limits)
    theirs: dict[str, Any] = {group: {} for group in _GROUPS}
    for name, value in given.items():
        group, _, key = name.partition("/")
        if group in theirs:
            theirs[group][key] = jnp.asarray(value, float)
    with double_precision():
        loss = starred_loss(given["image"], given["noisemap"], good, weights, norm, setting, nowhere[0])
        theirs = jax.tree.map(lambda v: jnp.asarray(v, float), theirs)
        values = float(loss.loss(theirs)), float(loss.loss(starred_arguments(fit.model, scale, setting)))
    jax.clear_caches()  # what many compilations of STARRED leave behind ends in a crash
    return values


@lru_cache(maxsize=8)
def _starred_psf(n: int, stars: int, subsampling: int, distorted: bool) -> Any:
    from starred.psf.psf import PSF

    return PSF(n, stars, subsampling, convolution_method="fft", elliptical_moffat=True, field_distortion=distorted)


def starred_loss(
    data: np.ndarray,
    noise: np.ndarray,
    good: np.ndarray,
    weights: np.ndarray,
    norm: float,
    setting: Setting,
    position: np.ndarray,
) -> Any:
    """Return STARRED's Loss of one frame's stamps, divided by `norm` as its routine does."""
    from starred.psf.loss import Loss

    return Loss(
        np.where(good, data, 0.0) / norm,
        _starred_psf(data.shape[-1], len(data), setting.subsampling, setting.distorted),
        _Direct,
        (np.where(good, noise, np.median(noise[good])) / norm) ** 2,
        len(data),
        regularization_terms="l1_starlet",
        regularization_strength_scales=1.0,
        regularization_strength_hf=1.0,
        W=weights,
        regularize_full_psf=False,
        masks=good.astype(float),
        star_positions=position,
    )


def starred_arguments(model: Any, scale: float, setting: Setting) -> dict[str, Any]:
    """Return our parameters in STARRED's terms; `scale` is its C."""
    import jax.numpy as jnp

    return {
        "kwargs_moffat": {**to_starred(model.shape), "C": scale},
        "kwargs_gaussian": {
            "a": jnp.asarray(model.amplitude * scale * setting.subsampling**2),
            "x0": jnp.asarray(model.x),
            "y0": jnp.asarray(model.y),
        },
        "kwargs_background": {
            "background": jnp.asarray(model.correction.ravel() * scale),
            "mean": jnp.zeros(len(model.amplitude)),
        },
        "kwargs_distortion": {name: jnp.asarray(model.distortion[2 * k : 2 * k + 2]) for k, name in enumerate(NAMES)},
    }
