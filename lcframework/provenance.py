"""Fingerprints: what makes a product out of date, and how to say what changed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

Components = dict[str, Any]


@attrs.frozen
class Option:
    """An option among a product's components: it counts where it is not at its default.

    An option that a later version adds changes no fingerprint, therefore, as long as nobody sets it. Whoever changes a
    default raises the `results_version` of what the option belongs to.
    """

    value: Any  # as JSON has it
    default: Any


def canonical(value: Any) -> str:
    """Return one text for one value: JSON with sorted keys; infinities and nan by their Python names."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def digest(value: Any, length: int = 40) -> str:
    """Return a stable digest of any JSON-like value, in hexadecimal."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's contents, or ``'absent'``."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:40]
    except OSError:
        return "absent"


def counted(components: Any) -> Any:
    """Return components as they are recorded and fingerprinted: without options that are at their defaults."""
    if isinstance(components, Mapping):
        return {k: counted(v) for k, v in components.items() if not _at_default(v)}
    return components.value if isinstance(components, Option) else components


def complete(components: Any) -> Any:
    """Return components with every option, whether or not it is at its default."""
    if isinstance(components, Mapping):
        return {k: complete(v) for k, v in components.items()}
    return components.value if isinstance(components, Option) else components


def counted_elsewhere(components: Components, *names: str) -> Components:
    """Return components whose options of these names don't count, because what they lead to is counted by itself."""
    return {k: Option(v.value, v.value) if k in names else v for k, v in components.items()}


def _at_default(component: Any) -> bool:
    return isinstance(component, Option) and canonical(component.value) == canonical(component.default)


def describe(instance: Any) -> Components:
    """Return an attrs instance as components: an :class:`Option` for each field that has a default.

    A file that a field names counts by its contents.
    """
    out: Components = {}
    for field in attrs.fields(type(instance)):
        if not field.init:
            continue
        value = _plain(getattr(instance, field.name))
        default = _default(field)
        out[field.name] = value if default is attrs.NOTHING else Option(value, _plain(default))
    return out


def plain(instance: Any) -> Components:
    """Return an attrs instance as JSON-like values, every field as it is."""
    return {name: value for name, value in complete(describe(instance)).items()}


def _default(field: Any) -> Any:
    """Return a field's default; NOTHING where it has none that holds for every instance."""
    if not isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]
        return field.default
    return attrs.NOTHING if field.default.takes_self else field.default.factory()


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return {"file": value.name, "contents": file_digest(value)} if value.is_file() else str(value)
    if attrs.has(type(value)):
        return plain(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such numbers, and PostgreSQL refuses them
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return str(value)


def changes(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return one phrase for each component that differs, such as ``psf.starred.iterations: 100 -> 50``.

    Parameters
    ----------
    old : mapping
        Components as they were recorded; an option that is not among them was at its default.
    new : mapping
        Components with their options.
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
