"""Values as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any


def finite_or_none(value: float) -> float | None:
    """Return a number; None where it is nan or infinite, which JSON and PostgreSQL's JSON don't have."""
    return float(value) if math.isfinite(value) else None


def json_value(
    value: Any, *, not_finite: Callable[[float], Any] = finite_or_none, other: Callable[[Any], Any] = str
) -> Any:
    """Return a value as JSON has it: mappings with texts as keys, lists for tuples.

    Parameters
    ----------
    value
        Numbers, texts, booleans and None stay as they are; parts of mappings, lists and tuples are made plain too.
    not_finite : callable
        What becomes of nan and infinities: None, unless this says otherwise (`str`: their Python names).
    other : callable
        What becomes of all that JSON does not have.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return not_finite(value)
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(k): json_value(v, not_finite=not_finite, other=other) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(v, not_finite=not_finite, other=other) for v in value]
    return other(value)
