"""Validators of plugins' options, with messages that teach; none lets nan through."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Validator = Callable[[Any, Any, Any], None]


def above(bound: float) -> Validator:
    """Return a validator of numbers above `bound`."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if not value > bound:
            raise ValueError(f"{attribute.name} must be greater than {bound:g}, got {value!r}")

    return check


def at_least(bound: float) -> Validator:
    """Return a validator of numbers not below `bound`."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if not value >= bound:
            raise ValueError(f"{attribute.name} must be at least {bound:g}, got {value!r}")

    return check


def positive(instance: Any, attribute: Any, value: Any) -> None:
    """Refuse zero and less."""
    if not value > 0:
        raise ValueError(f"{attribute.name} must be positive, got {value!r}")


def not_negative(instance: Any, attribute: Any, value: Any) -> None:
    """Refuse less than zero."""
    if not value >= 0:
        raise ValueError(f"{attribute.name} must not be negative, got {value!r}")


def positive_or_zero(purpose: str) -> Validator:
    """Return a validator of finite positive numbers, and of 0, which is set for a `purpose`: ``"to ..."``."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{attribute.name} must be a positive number, or 0 {purpose}; got {value!r}")

    return check


def one_of(*choices: str, empty: str = "") -> Validator:
    """Return a validator of one of some words.

    Parameters
    ----------
    *choices : str
        The words.
    empty : str
        What an empty text is set for, ``"to ..."``; where not given, it is refused.
    """

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if value not in choices and not (empty and value == ""):
            words = ", ".join(repr(str(c)) for c in choices) + (f", or '' {empty}" if empty else "")
            raise ValueError(f"{attribute.name} must be one of {words}, got {value!r}")

    return check
