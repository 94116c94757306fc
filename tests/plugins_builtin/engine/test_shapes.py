"""The shapes and types that the engine's signatures state are checked while tests run, all of them."""

from __future__ import annotations

import inspect
import pkgutil
import typing
from collections.abc import Iterator
from importlib import import_module

import checked_shapes
import jaxtyping
import numpy as np
import pytest

from plugins_builtin import engine
from plugins_builtin.engine.psf.outliers import Residuals
from plugins_builtin.engine.roi.scene import NO_BUMPS, Scene
from plugins_builtin.engine.target import point_sources


def test_an_argument_of_a_wrong_shape_is_refused():
    kernels, place = np.ones((2, 8, 8)), np.zeros(3)
    with pytest.raises(jaxtyping.TypeCheckError, match="parameter 'x'"):
        point_sources(kernels, place, place, 4, 2, 2.0)


def test_an_argument_of_a_wrong_type_is_refused():
    with pytest.raises(jaxtyping.TypeCheckError, match="parameter 'x'"):
        point_sources(np.ones((8, 8)), np.zeros(3, int), np.zeros(3), 4, 2, 2.0)


def test_a_method_s_argument_of_a_wrong_shape_is_refused():
    scene = Scene(np.zeros((1, 2)), np.zeros((0, 7)), NO_BUMPS, np.zeros(0))
    with pytest.raises(jaxtyping.TypeCheckError, match="parameter 'zenith'"):
        scene.at(np.zeros(3))


def test_a_container_s_arrays_must_fit_together():
    stars = np.ones((3, 8, 8))
    with pytest.raises(jaxtyping.TypeCheckError, match="parameter 'amplitude'"):
        Residuals(stars, stars, stars, np.ones(2))


def test_each_test_checks_first_calls_anew():
    kernels, place = np.ones((2, 8, 8)), np.zeros(2)
    for _ in range(checked_shapes.CALLS):
        point_sources(kernels, place, place, 4, 2, 2.0)
    point_sources(kernels.astype(int), place, place, 4, 2, 2.0)  # nobody looks
    checked_shapes.begin_test()
    with pytest.raises(jaxtyping.TypeCheckError, match="parameter 'kernels'"):
        point_sources(kernels.astype(int), place, place, 4, 2, 2.0)


def annotated() -> Iterator[object]:
    """Yield the engine's functions, classes and methods."""
    for found in pkgutil.walk_packages(engine.__path__, f"{engine.__name__}."):
        module = import_module(found.name)
        for value in vars(module).values():
            members = vars(value).values() if inspect.isclass(value) and value.__module__ == module.__name__ else ()
            for member in (value, *members):
                one = inspect.unwrap(getattr(member, "fget", None) or getattr(member, "__func__", member))
                if (inspect.isclass(one) and one.__module__ == module.__name__) or (
                    inspect.isfunction(one) and one.__code__.co_filename == module.__file__
                ):
                    yield one


def test_annotations_can_be_resolved():
    """What can't be is not checked, without a word."""
    found = list(annotated())
    assert len(found) > 400
    for one in found:
        try:
            typing.get_type_hints(one)
        except Exception as error:
            pytest.fail(f"{one}: {error}")
