"""Runs the compiled steps of a PSF fit over frames: one per core on a CPU, in batches on an accelerator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from lcframework.types import Floats
from plugins_builtin.engine.device import forecast, run_in_batches
from plugins_builtin.engine.precision import double_precision
from plugins_builtin.engine.psf import model as psf_model
from plugins_builtin.engine.psf.memory import memory_of_fit
from plugins_builtin.engine.psf.model import Frame, Model, Result, Setting
from plugins_builtin.engine.threads import in_order

#: Numbers of stars that code is compiled for.
_STAR_BUCKETS = (2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64)

DTYPE = np.float32

_Answer = TypeVar("_Answer")


def lanes(stars: int, size: int, setting: Setting) -> int:
    """Return how many frames the device fits in a batch; 0 on a CPU, where each is fitted by itself."""
    if jax.default_backend() == "cpu":
        return 0
    return forecast(memory_of_fit(_bucket(stars), size, setting.subsampling)).units


def run_step(
    frames: list[tuple[Model[Floats], Frame[Floats]]], setting: Setting, step: int, arguments: list[tuple[Any, ...]]
) -> list[Result]:
    """Run a compiled step over frames, each with its arguments, and return their results as NumPy.

    Parameters
    ----------
    frames : list of (Model, Frame)
        All of one shape.
    setting : Setting
        What the steps are compiled for.
    step : int
        0: the analytic step; 1: the step of the pixels.
    arguments : list of tuples
        The step's other arguments, a tuple for each frame.
    """
    if not frames:
        return []
    stars, size, _ = frames[0][1].data.shape
    values = [(*_device_values(*frame), *own) for frame, own in zip(frames, arguments, strict=True)]
    side_by_side = lanes(stars, size, setting)
    if side_by_side == 0:
        return _run_threaded(values, psf_model.compiled(setting, False)[step])
    with double_precision():
        return run_in_batches(values, psf_model.compiled(setting, True)[step], side_by_side)


def _run_threaded(values: list[tuple[Any, ...]], function: Callable[..., _Answer]) -> list[_Answer]:
    """Run a frame per core: a compiled step occupies one core, and lets other Python threads run."""

    def run(one: tuple[Any, ...]) -> _Answer:
        with double_precision():  # the precision is a setting of the thread
            answer: _Answer = jax.device_get(function(*one))
        return answer

    first = run(values[0])  # alone, so that the step is compiled only once
    return [first, *in_order(run, values[1:])]


def _bucket(stars: int) -> int:
    return next((size for size in _STAR_BUCKETS if size >= stars), stars)


def _device_values(model: Model[Floats], frame: Frame[Floats]) -> tuple[Model[Floats], Frame[Floats]]:
    """Return model and frame in single precision, stars padded to a bucket."""
    missing = _bucket(len(frame.data)) - len(frame.data)

    def single(values: Floats) -> Floats:
        return np.asarray(values, DTYPE)

    def padded(values: Floats) -> Floats:
        return np.concatenate([single(values), np.zeros((missing, *np.shape(values)[1:]), DTYPE)])

    stars = Frame(padded(frame.data), padded(frame.inverse_variance), padded(frame.position), single(frame.penalty))
    return Model(
        single(model.shape),
        single(model.correction),
        padded(model.amplitude),
        padded(model.x),
        padded(model.y),
        single(model.distortion),
    ), stars
