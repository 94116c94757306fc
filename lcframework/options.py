"""Validators of options, for sections of the project file and for plugins' options.

Each function is a `validator` for :func:`attrs.field`, or returns one. The messages state what is allowed and what was
given. All reject nan.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
from typing import Any
from urllib.parse import urlparse

Validator = Callable[[Any, Any, Any], None]


def above(bound: float, *, finite: bool = False) -> Validator:
    """Return a validator of numbers above `bound`; infinity is allowed unless `finite`."""
    wanted = f"a number above {bound:g}" if finite else "positive" if bound == 0 else f"greater than {bound:g}"

    def check(instance: Any, attribute: Any, value: float) -> None:
        if not value > bound or (finite and math.isinf(value)):
            raise ValueError(f"{attribute.name} must be {wanted}, got {value!r}")

    return check


def at_least(bound: float, *, or_zero: str = "") -> Validator:
    """Return a validator of numbers not below `bound`.

    Parameters
    ----------
    bound : float
        The limit, allowed.
    or_zero : str
        What 0 is set for where it is below the limit and allowed all the same: ``"to ..."``.
    """
    wanted = "must not be negative" if bound == 0 else f"must be at least {bound:g}"
    wanted += f", or 0 {or_zero}; got" if or_zero else ", got"

    def check(instance: Any, attribute: Any, value: float) -> None:
        if not value >= bound and not (or_zero and value == 0):
            raise ValueError(f"{attribute.name} {wanted} {value!r}")

    return check


positive = above(0.0)
not_negative = at_least(0.0)


def positive_or_auto(instance: Any, attribute: Any, value: float | str) -> None:
    """Accept positive numbers, and ``"auto"``, which leaves an option to the frame."""
    if value != "auto" and (isinstance(value, str) or not value > 0):
        raise ValueError(f'{attribute.name} must be positive, or "auto"; got {value!r}')


def positive_or_zero(purpose: str) -> Validator:
    """Return a validator of finite positive numbers and 0; `purpose` (``"to ..."``) states the meaning of 0."""

    def check(instance: Any, attribute: Any, value: float) -> None:
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{attribute.name} must be a positive number, or 0 {purpose}; got {value!r}")

    return check


def within(low: float, high: float, meaning: str = "") -> Validator:
    """Return a validator of numbers from `low` to `high`, both allowed.

    Parameters
    ----------
    low, high : float
        The limits.
    meaning : str
        What the number is, or what its limits mean, for the message.
    """

    def check(instance: Any, attribute: Any, value: float) -> None:
        if not low <= value <= high:
            raise ValueError(
                f"{attribute.name} must lie between {low:g} and {high:g}{_in_brackets(meaning)}, got {value!r}"
            )

    return check


def whole_number(least: int = 0, most: int | None = None, meaning: str = "") -> Validator:
    """Return a validator of whole numbers from `least` to `most`.

    Parameters
    ----------
    least, most : int
        The limits, both allowed; there is no upper limit where `most` is None.
    meaning : str
        What the number is, or what its limits mean, for the message.
    """
    limits = f"a whole number, {least} or more" if most is None else f"{least} to {most}, a whole number"

    def check(instance: Any, attribute: Any, value: int) -> None:
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not whole or value < least or (most is not None and value > most):
            raise ValueError(f"{attribute.name} must be {limits}{_in_brackets(meaning)}, got {value!r}")

    return check


def ordered(instance: Any, attribute: Any, value: tuple[float, float]) -> None:
    """Check that the first value of an interval is below the second."""
    if not value[0] < value[1]:
        raise ValueError(f"{attribute.name}: the first value must be below the second, got {list(value)!r}")


def true_or_false(instance: Any, attribute: Any, value: bool) -> None:
    """Check that a value is a boolean, not a number or a text such as ``"true"``."""
    if not isinstance(value, bool):
        raise ValueError(f"{attribute.name} must be true or false, got {value!r}")


def one_of(*choices: str, empty: str = "") -> Validator:
    """Return a validator of texts that must be one of `choices`.

    Parameters
    ----------
    *choices : str
        The words.
    empty : str
        The meaning of an empty text, ``"to ..."``; an empty text is refused where this is empty.
    """
    words = _listed(choices) + (f", or '' {empty}" if empty else "")

    def check(instance: Any, attribute: Any, value: str) -> None:
        if value not in choices and not (empty and value == ""):
            raise ValueError(f"{attribute.name} must be one of {words}, got {value!r}")

    return check


def some_of(*choices: str) -> Validator:
    """Return a validator of lists of one or more of `choices`."""

    def check(instance: Any, attribute: Any, value: Iterable[str]) -> None:
        given = list(value)
        if not given or any(word not in choices for word in given):
            raise ValueError(f"{attribute.name} must be a list of one or more of {_listed(choices)}, got {given!r}")

    return check


def mapping_of(known: Iterable[str], what: str = "a text") -> Validator:
    """Return a validator of mappings from `known` names to texts that are not empty.

    Parameters
    ----------
    known : iterable of str
        The names that are allowed in the mapping.
    what : str
        What they are mapped to, for the message, such as ``"a column"``.
    """
    known = tuple(known)

    def check(instance: Any, attribute: Any, value: Mapping[str, str]) -> None:
        for name, text in value.items():
            if name not in known:
                like = closest(name, known)
                hint = f"; did you mean {like!r}?" if like else "."
                raise ValueError(f"{attribute.name} maps {name!r}, which is unknown{hint} Known: {', '.join(known)}")
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{attribute.name}: {name} must name {what}, got {text!r}")

    return check


def web_address(*, empty: bool = False) -> Validator:
    """Return a validator of http and https addresses; an empty text is allowed where `empty`."""

    def check(instance: Any, attribute: Any, value: str) -> None:
        parts = urlparse(value)
        if (value or not empty) and not (parts.scheme in ("http", "https") and parts.hostname):
            raise ValueError(f"{attribute.name} must be an http:// or https:// address, got {value!r}")

    return check


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most similar to `word`, ignoring case; None where no word is similar."""
    original = {str(k).lower(): str(k) for k in reversed(list(known))}
    found = difflib.get_close_matches(word.lower(), list(original), n=1, cutoff=0.6)
    return original[found[0]] if found else None


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a suggestion of the known word nearest to `word`, as the end of a sentence; empty where none is near."""
    like = closest(word, known)
    return f'; did you mean "{like}"?' if like else ""


def _listed(words: Iterable[str]) -> str:
    return ", ".join(repr(str(word)) for word in words)


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""
