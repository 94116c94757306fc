"""Checks of what a package's annotations state, shapes included, while its functions run.

jaxtyping's import hook gives every function of the package a check of its arguments and its result, by beartype. That
costs some 0.1 ms a call, and the engine's inner loops make a million calls in its tests; so of each function only the
first calls in a test are checked. Functions inside functions always are. attrs classes, which the hook knows nothing
of, are checked where they are made. Named tuples are not: JAX fills them with whatever it maps over.
"""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import attrs
import beartype
import jaxtyping

#: Calls of a function that are checked in each test.
CALLS = 3

# An int will do for a float, as mypy has it.
_check = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))

_checks: dict[object, Callable[..., Any]] = {}
_test = 0


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with its annotations checked at each call.

    jaxtyping gives it an empty function with the annotations of the one that is checked. For a function inside a
    function that is again and again the same one, whose check takes longer to make than to run.
    """
    remembered = "<locals>" in function.__qualname__ and not function.__defaults__ and not function.__kwdefaults__
    key = (function.__module__, function.__qualname__, function.__code__.co_varnames)
    if key in _checks and remembered:
        return _checks[key]
    function.__annotations__ = {name: _known(hint) for name, hint in function.__annotations__.items()}
    checked = _check(function)
    if remembered:
        _checks[key] = checked
    return checked


def _known(hint: Any) -> Any:
    """Return a hint with generic named tuples, which beartype does not know, as tuples."""
    origin = typing.get_origin(hint) or hint
    if inspect.isclass(origin) and issubclass(origin, tuple) and issubclass(origin, typing.Generic):
        return tuple
    if origin in (list, tuple):
        return origin[tuple(_known(part) for part in typing.get_args(hint))] if hint is not origin else hint
    return hint


def begin_test() -> None:
    """Check first calls again."""
    global _test
    _test += 1


def install(package: str) -> None:
    """Check a package's annotations from its import on."""
    if early := [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        raise RuntimeError(f"{early[0]} was imported before its annotations could be checked")
    hook = jaxtyping.install_import_hook(package, f"{__name__}.check").hook
    sys.meta_path.insert(0, _Finder(hook))


class _Finder:
    """Finds what the hook finds, and works on it once it is loaded."""

    def __init__(self, hook: Any) -> None:
        self.hook = hook

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = self.hook.find_spec(name, path, target)
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _finish(module)

            spec.loader.exec_module = exec_module
        return spec


def _finish(module: ModuleType) -> None:
    """Limit the checks of a module's functions, and check its containers."""
    for name, value in list(vars(module).items()):
        if _is_checked(value):
            setattr(module, name, _first_calls(value))
        elif inspect.isclass(value) and value.__module__ == module.__name__:
            _finish_class(value, module)


def _finish_class(cls: type, module: ModuleType) -> None:
    for name, value in list(vars(cls).items()):
        if _is_checked(value):
            setattr(cls, name, _first_calls(value))
        elif isinstance(value, property) and _is_checked(value.fget):
            setattr(cls, name, property(_first_calls(value.fget)))
    if attrs.has(cls):
        hints = typing.get_type_hints(cls, vars(module), include_extras=True)
        init: Any = cls.__init__
        init.__annotations__ = {field.alias: hints[field.name] for field in attrs.fields(cls) if field.init}
        cls.__init__ = _first_calls(jaxtyping.jaxtyped(init, typechecker=check))


def _is_checked(value: object) -> bool:
    """Whether it is a function that has got its check: the outermost of what wraps it."""
    return inspect.isfunction(value) and value.__globals__["__name__"] == jaxtyping.jaxtyped.__module__


def _first_calls(checked: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose first calls in each test are those of `checked`, the others of what it wraps."""
    plain = checked.__wrapped__
    left, test = CALLS, -1

    @functools.wraps(plain)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal left, test
        if test != _test:
            left, test = CALLS, _test
        if left == 0:
            return plain(*args, **kwargs)
        left -= 1
        return checked(*args, **kwargs)

    return call
