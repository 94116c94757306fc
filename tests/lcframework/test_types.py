"""The package of values: one place to import from."""

from __future__ import annotations

import inspect
import pickle
import pkgutil
from importlib import import_module

import lcframework.types
from lcframework.types import FitState, FitStatus


def test_everything_public_is_imported_from_the_package():
    modules = [m.name for m in pkgutil.iter_modules(lcframework.types.__path__)]
    said = lcframework.types.__doc__
    for name in modules:
        assert f"`{name}`" in said
        module = import_module(f"lcframework.types.{name}")
        for made, value in vars(module).items():
            if inspect.isclass(value) and value.__module__ == module.__name__ and not made.startswith("_"):
                assert made in lcframework.types.__all__
    assert all(hasattr(lcframework.types, name) for name in lcframework.types.__all__)


def test_values_are_pickled_under_either_name():
    value = FitStatus(FitState.BOUND, 3, "enough")
    assert pickle.loads(pickle.dumps(value)) == value
    of_package = pickle.dumps(value, protocol=0).replace(b"lcframework.types.fit_status", b"lcframework.types")
    assert pickle.loads(of_package) == value
