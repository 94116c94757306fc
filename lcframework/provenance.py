"""Fingerprints, which determine whether a product is out of date, and descriptions of what changed."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
from numpy.typing import NDArray

from lcframework.types.json_values import json_value

Components = dict[str, Any]
#: Hexadecimal digits of a digest.
_LENGTH = 40


@attrs.frozen
class Option:
    """An option among the components of a product; it enters the fingerprint only where it is not at its default.

    So an option that a later version adds changes no fingerprint until a user sets it. A change of a default needs a
    new `results_version` of the stage or plugin that the option belongs to.
    """

    value: Any  # a value that JSON can hold
    default: Any


#: Made once: each unit of a plan is encoded in several parts.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str)


def canonical(value: Any) -> str:
    """Return the same text for equal values: JSON with sorted keys; infinities and nan by their Python names."""
    return _ENCODER.encode(value)


def digest(value: Any, length: int = _LENGTH) -> str:
    """Return a stable digest of any JSON-like value, in hexadecimal."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


def array_digest(arrays: Iterable[NDArray[Any]], length: int = _LENGTH) -> str:
    """Return a stable digest of arrays of numbers, not of objects: of their types, shapes and values, in order.

    For thousands of frames this takes a fiftieth of the time of :func:`digest`, which writes every number as text.
    """
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()[:length]


#: The digest of a file that can't be read.
ABSENT = "absent"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's contents, or `ABSENT`."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:40]
    except OSError:
        return ABSENT


class Shared(dict[str, Any]):
    """Components that many units share, such as options of an instrument; they can't be changed.

    Their part of the fingerprint is worked out once.
    """

    __slots__ = ("counted", "text")

    def __init__(self, components: Mapping[str, Any]) -> None:
        super().__init__(components)
        self.counted: Components = {k: counted(v) for k, v in components.items() if not _at_default(v)}
        self.text = canonical(self.counted)

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError("shared components can't be changed: make new ones")

    __setitem__ = __delitem__ = __ior__ = update = pop = popitem = setdefault = clear = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how it is made again where it was sent to another process."""
        return Shared, (dict(self),)


def fingerprint(components: Mapping[str, Any]) -> str:
    """Return the digest of components without options that are at their defaults."""
    parts = []
    for name in sorted(components):
        value = components[name]
        if isinstance(value, Shared):
            parts.append(f"{_quoted(name)}:{value.text}")
        elif not _at_default(value):
            parts.append(f"{_quoted(name)}:{canonical(counted(value))}")
    return hashlib.sha256(f"{{{','.join(parts)}}}".encode()).hexdigest()[:_LENGTH]


@functools.cache
def _quoted(name: str) -> str:
    return json.dumps(name)


def counted(components: Any) -> Any:
    """Return components for the record and the fingerprint: without options that are at their defaults."""
    if isinstance(components, Shared):
        return components.counted
    if isinstance(components, Mapping):
        return {k: counted(v) for k, v in components.items() if not _at_default(v)}
    return components.value if isinstance(components, Option) else components


def complete(components: Any) -> Any:
    """Return components with every option, whether or not it is at its default."""
    if isinstance(components, Mapping):
        return {k: complete(v) for k, v in components.items()}
    return components.value if isinstance(components, Option) else components


def counted_elsewhere(components: Components, *names: str) -> Components:
    """Return components that ignore the options of these names, because their effect is included elsewhere."""
    return {k: Option(v.value, v.value) if k in names else v for k, v in components.items()}


def _at_default(component: Any) -> bool:
    if not isinstance(component, Option):
        return False
    value, default = component.value, component.default
    if type(value) is type(default) and isinstance(value, str | int | None):
        return bool(value == default)
    return canonical(value) == canonical(default)


def describe(instance: Any) -> Components:
    """Return an attrs instance as components: an :class:`Option` for each attribute that has a default.

    For an attribute that is the path of a file, the digest of the file's contents is included.
    """
    out: Components = {}
    for attribute in attrs.fields(type(instance)):
        if not attribute.init:
            continue
        value = _plain(getattr(instance, attribute.name))
        default = _default(attribute)
        # A default path is no file: it would be looked for in the folder where the command was given.
        default = str(default) if isinstance(default, Path) else default
        out[attribute.name] = value if default is attrs.NOTHING else Option(value, _plain(default))
    return out


def plain(instance: Any) -> Components:
    """Return all attributes of an attrs instance as values that JSON can hold."""
    return {name: value for name, value in complete(describe(instance)).items()}


def _default(attribute: Any) -> Any:
    """Return the default of an attribute; NOTHING where there is none, or where it depends on the instance."""
    if not isinstance(attribute.default, attrs.Factory):  # type: ignore[arg-type]
        return attribute.default
    return attrs.NOTHING if attribute.default.takes_self else attribute.default.factory()


def _plain(value: Any) -> Any:
    return json_value(value, not_finite=str, other=_of_other)


def _of_other(value: Any) -> Any:
    if isinstance(value, Path):
        return {"file": value.name, "contents": file_digest(value)} if value.is_file() else str(value)
    return plain(value) if attrs.has(type(value)) else str(value)


def changes(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return one phrase for each component that differs, such as ``psf.starred.iterations: 100 -> 50``.

    Parameters
    ----------
    old : mapping
        Recorded components; an option that they do not contain was at its default.
    new : mapping
        Current components, with :class:`Option` values.
    """
    out: list[str] = []
    for key in sorted({*old, *new}):
        name, now = f"{prefix}{key}", new.get(key)
        if isinstance(now, Option):
            before, now = old.get(key, now.default), now.value
        elif key not in old:
            out.append(f"{name} is new")
            continue
        elif key not in new:
            out.append(f"{name} is gone")
            continue
        else:
            before = old[key]
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            out += changes(before, now, f"{name}.")
        elif canonical(before) != canonical(now):  # stored components have lists for tuples
            out.append(f"{name}: {_short(before)} -> {_short(now)}")
    return out


def _short(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= 48 else text[:45] + "..."
