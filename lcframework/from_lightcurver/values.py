"""Conversion of values of a YAML file to the expected types; unsuitable values raise an error."""

from __future__ import annotations

import math
from typing import Any

from lcframework.types import UnusableInput


def number(value: Any) -> float:
    """Return a number; also from texts, because YAML 1.1 reads 2e-2 as a text."""
    if isinstance(value, bool):
        raise UnusableInput("a number is needed")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UnusableInput("a number is needed") from None


def whole(value: Any) -> int:
    """Return a whole number."""
    if number(value) != int(number(value)):
        raise UnusableInput("a whole number is needed")
    return int(number(value))


def text(value: Any) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise UnusableInput("a text is needed")
    return value


def pair(value: Any) -> list[float]:
    """Return an interval [low, high]; null means no limit."""
    low, high = value
    return [-math.inf if low is None else number(low), math.inf if high is None else number(high)]


def names(value: Any) -> list[str]:
    """Return star names from a list, or from a text of single letters."""
    return [str(v) for v in value]
