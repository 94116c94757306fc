"""Validators of plugins' options, with messages that teach; none lets nan through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Validator = Callable[[Any, Any, Any], None]


def above(bound: float, inclusive: bool = False) -> Validator:
    """Return a validator of numbers above `bound`, or, where `inclusive`, not below it."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if not (value > bound or (inclusive and value == bound)):
            word = "at least" if inclusive else "greater than"
            raise ValueError(f"{attribute.name} must be {word} {bound:g}, got {value!r}")

    return check


def positive(instance: Any, attribute: Any, value: Any) -> None:
    """Refuse zero and less."""
    if not value > 0:
        raise ValueError(f"{attribute.name} must be positive, got {value!r}")


def not_negative(instance: Any, attribute: Any, value: Any) -> None:
    """Refuse less than zero."""
    if not value >= 0:
        raise ValueError(f"{attribute.name} must not be negative, got {value!r}")


def one_of(*choices: str) -> Validator:
    """Return a validator of one of some words."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if value not in choices:
            raise ValueError(f"{attribute.name} must be one of {', '.join(map(repr, choices))}, got {value!r}")

    return check
