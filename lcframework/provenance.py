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


def describe(instance: Any) -> Components:
    """Return an attrs instance as JSON-like values; a file that a field names counts by its contents."""
    out: Components = {}
    for field in attrs.fields(type(instance)):
        out[field.name] = _plain(getattr(instance, field.name))
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return {"file": value.name, "contents": file_digest(value)} if value.is_file() else str(value)
    if attrs.has(type(value)):
        return describe(value)
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
    """Return one phrase for each component that differs, such as ``psf.starred.iterations: 100 -> 50``."""
    out: list[str] = []
    for key in sorted({*old, *new}):
        name = f"{prefix}{key}"
        if key not in old:
            out.append(f"{name} is new")
        elif key not in new:
            out.append(f"{name} is gone")
        elif canonical(old[key]) != canonical(new[key]):  # stored components have lists for tuples
            if isinstance(old[key], Mapping) and isinstance(new[key], Mapping):
                out += changes(old[key], new[key], f"{name}.")
            else:
                out.append(f"{name}: {_short(old[key])} -> {_short(new[key])}")
    return out


def _short(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= 48 else text[:45] + "..."
