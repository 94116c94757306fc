"""Functions for all checks: requirements on the class of a plugin, and assertions with helpful messages."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from lcframework.protocols import (
    ChecksFiles,
    DoubtsReduction,
    Ephemeris,
    Exporter,
    FitsInBatches,
    MeasuresMovingTargets,
    Reduction,
    RoiModel,
    SplitsFiles,
    StatesPositionErrors,
    WarmsUp,
)
from lcframework.types import FitStatus, LcfError, PluginError, TableSchema

Array = NDArray[Any]
T = TypeVar("T")
#: Optional abilities that are methods: those that classes of several seams have, ...
_OF_SEVERAL: tuple[type[Any], ...] = (FitsInBatches, WarmsUp)
#: ... and those of one seam, under whose names classes of other seams may have methods of their own.
_OF_ONE: dict[type[Any], tuple[type[Any], ...]] = {
    Reduction: (DoubtsReduction,),
    Ephemeris: (StatesPositionErrors,),
    RoiModel: (MeasuresMovingTargets,),
    Exporter: (SplitsFiles, ChecksFiles),
}


def require(fulfilled: Any, who: str, what: str) -> None:
    """Raise an AssertionError that names the plugin where a requirement is not fulfilled."""
    if not bool(fulfilled):
        raise AssertionError(f"{who}: {what}")


def name_of(plugin: Any) -> str:
    """Return the plugin's class name, for messages."""
    return type(plugin).__name__


def check_plugin_class(plugin: Any, protocol: type[Any] | None = None) -> None:
    """Check that a plugin is a frozen attrs class with defaults that can be pickled and compares by its attributes.

    Parameters
    ----------
    plugin : object
        An instance.
    protocol : type, optional
        One of :mod:`lcframework.protocols`; the plugin must have its methods, with the same parameters, and also those
        of the seam's optional abilities that it has. Without it only the abilities that several seams share are looked
        at.

    Raises
    ------
    AssertionError
        States which requirement is not fulfilled, and what to do.
    """
    kind = type(plugin)
    who = name_of(plugin)
    require(
        attrs.has(kind), who, "is not an attrs class; decorate it with @attrs.frozen, its attributes are its options"
    )
    _check_frozen(plugin, who)
    for option in attrs.fields(kind):
        require(
            option.default is not attrs.NOTHING,
            who,
            f"the option {option.name!r} has no default; a project file that does not name it must work",
        )
        require(
            option.type is not None, who, f"the option {option.name!r} has no type annotation; TOML values need one"
        )
        require(
            not option.name.startswith("_"), who, f"the option {option.name!r} starts with an underscore: it is state"
        )
    version = getattr(kind, "results_version", 1)
    require(isinstance(version, int) and version >= 1, who, f"results_version must be an int from 1, got {version!r}")
    try:
        copy = pickle.loads(pickle.dumps(plugin))
    except Exception as error:
        raise AssertionError(
            f"{who}: does not pickle ({error}), so it can't reach a worker process; define it at module level and keep "
            "open files, functions and modules out of its attributes"
        ) from error
    require(
        same_values(copy, plugin),
        who,
        "is not equal to its own pickled copy; leave eq=True, so that options can be compared",
    )
    of_seam: tuple[type[Any], ...] = () if protocol is None else _OF_ONE.get(protocol, ())
    if protocol is not None:
        _check_methods(plugin, protocol, who)
    for ability in (*_OF_SEVERAL, *of_seam):
        if isinstance(plugin, ability):
            _check_methods(plugin, ability, who)


def same_values(one: Any, other: Any) -> bool:
    """Return whether all attributes of two attrs values are equal; nan counts as equal to nan."""
    if type(one) is not type(other):
        return False
    for attribute in attrs.fields(type(one)):
        a, b = getattr(one, attribute.name), getattr(other, attribute.name)
        both_nan = isinstance(a, float) and isinstance(b, float) and np.isnan(a) and np.isnan(b)
        if not both_nan and not bool(np.all(a == b)):
            return False
    return True


def _check_frozen(plugin: Any, who: str) -> None:
    attributes = attrs.fields(type(plugin))
    target = attributes[0].name if attributes else "anything"
    try:
        setattr(plugin, target, getattr(plugin, target, None))
    except (attrs.exceptions.FrozenInstanceError, AttributeError):
        return
    raise AssertionError(f"{who}: can be changed after it is made; use @attrs.frozen, or its fingerprint lies")


def _check_methods(plugin: Any, protocol: type[Any], who: str) -> None:
    for name, wanted in vars(protocol).items():
        if name.startswith("_") or not callable(wanted):
            continue
        method = getattr(plugin, name, None)
        require(callable(method), who, f"has no method {name}{inspect.signature(wanted)}")
        assert method is not None
        given = [p.name for p in inspect.signature(method).parameters.values() if p.default is p.empty]
        expected = [p for p in inspect.signature(wanted).parameters if p != "self"]
        require(
            given == expected,
            who,
            f"{name} takes ({', '.join(given)}) where the protocol has ({', '.join(expected)}); they must agree",
        )


def unchanged(who: str, arrays: dict[str, Any]) -> Callable[[], None]:
    """Return a function that fails where any of these arrays was changed after this call."""
    before = {name: np.array(array, copy=True) for name, array in arrays.items()}

    def verify() -> None:
        for name, array in before.items():
            same = np.array_equal(array, arrays[name], equal_nan=array.dtype.kind == "f")
            require(same, who, f"changed its input {name!r}; work on a copy, others use the same array")

    return verify


def asked_twice(call: Callable[[], T], who: str, method: str) -> T:
    """Return what a call answers; fail where it answers something else the second time."""
    first, second = call(), call()
    require(
        _alike(first, second),
        who,
        f"{method} answers the same input in another way the second time: an answer must depend on options and input "
        "alone, so keep nothing between calls, and give random numbers a fixed seed",
    )
    return first


def _alike(one: Any, other: Any) -> bool:
    """Return whether two answers agree but for rounding."""
    if attrs.has(type(one)):
        names = [f.name for f in attrs.fields(type(one))]
        return type(one) is type(other) and all(_alike(getattr(one, n), getattr(other, n)) for n in names)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if hasattr(one, "colnames"):
        return one.colnames == other.colnames and all(_alike(one[n], other[n]) for n in one.colnames)
    a, b = np.ma.asarray(one), np.ma.asarray(other)
    if a.dtype.kind in "fc":
        return a.shape == b.shape and bool(np.allclose(a.filled(0), b.filled(0), rtol=1e-5, equal_nan=True))
    return a.shape == b.shape and bool(np.all(a == b))


def check_array(array: Any, shape: tuple[int, ...], who: str, what: str, finite: bool = True) -> Array:
    """Return the array where it is numeric, has this shape and, where requested, is finite."""
    require(isinstance(array, np.ndarray), who, f"{what} is a {type(array).__name__}, not a NumPy array")
    require(array.shape == shape, who, f"{what} has the shape {array.shape}, and {shape} is expected")
    require(array.dtype.kind in "fiub", who, f"{what} is of {array.dtype}, not of numbers")
    if finite:
        require(np.all(np.isfinite(array)), who, f"{what} has values that are not finite")
    return np.asarray(array)


def check_status(status: Any, who: str, what: str, usable: bool = True) -> None:
    """Check that a fit has a status, and that the status is usable where `usable`."""
    require(isinstance(status, FitStatus), who, f"{what} is a {type(status).__name__}, not a FitStatus")
    if usable:
        require(status.usable, who, f"{what} failed on clean data: {status.reason or 'no reason given'}")
    elif not status.usable:
        require(status.reason, who, f"{what} failed without a reason")


def check_table(table: Any, schema: TableSchema, who: str) -> None:
    """Check a table against its schema."""
    try:
        schema.check(table, who)
    except PluginError as error:
        raise AssertionError(str(error)) from error


def check_pulls(pulls: Array, who: str, what: str, low: float = 0.5, high: float = 1.6, worst: float = 6.0) -> None:
    """Check that deviations in units of the stated errors are about normal."""
    pulls = np.asarray(pulls, float)
    require(np.all(np.isfinite(pulls)), who, f"{what}: not all have a finite value and a positive error")
    spread = float(np.sqrt(np.mean(pulls**2)))
    require(
        low <= spread <= high,
        who,
        f"{what}: the deviations from the truth are {spread:.2f} times the stated errors (rms of {pulls.size}), and "
        f"{low:g} to {high:g} is expected",
    )
    require(np.abs(pulls).max() < worst, who, f"{what}: one is {np.abs(pulls).max():.1f} stated errors off the truth")


def refused(call: Callable[[], Any], who: str, what: str) -> bool:
    """Return whether a call raised one of lcframework's errors, which need a message; other exceptions are failures."""
    try:
        call()
    except LcfError as error:
        require(str(error).strip(), who, f"{what}: raised {type(error).__name__} without a message")
        return True
    except Exception as error:
        raise AssertionError(
            f"{who}: {what}: raised {type(error).__name__} ({error}); raise lcframework.types.UnusableInput, stating "
            "what, where, why and what to do, so that the run continues"
        ) from error
    return False
