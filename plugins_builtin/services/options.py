"""Validators of the options that catalogues and surveys share, with messages that teach."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlparse

from plugins_builtin.services.adql import table_name
from plugins_builtin.shared.option_checks import Validator
from plugins_builtin.shared.star_tables import nearest_name

#: Options that say how a service is asked and not what: they can't change an answer.
OPERATIONAL = frozenset({"url", "mirror", "timeout", "retries", "backoff", "max_rows", "cache_dir", "offline"})


def a_url(empty: bool = False) -> Validator:
    """Return a validator: an http or https address of a host, or nothing where `empty`."""

    def check(instance: Any, attribute: Any, value: str) -> None:
        parts = urlparse(value)
        if (value or not empty) and not (parts.scheme in ("http", "https") and parts.hostname):
            raise ValueError(f"{attribute.name} must be an http:// or https:// address, got {value!r}")

    return check


def a_table_name(instance: Any, attribute: Any, value: str) -> None:
    """Check that a name can be a table of a TAP service."""
    try:
        table_name(value)
    except ValueError as error:
        raise ValueError(f"{attribute.name}: {error}") from error


def a_number(above: float) -> Validator:
    """Return a validator: a finite number greater than `above`."""

    def check(instance: Any, attribute: Any, value: float) -> None:
        if not (math.isfinite(value) and value > above):
            raise ValueError(f"{attribute.name} must be a number above {above:g}, got {value!r}")

    return check


def a_count(least: int = 0) -> Validator:
    """Return a validator: a whole number, `least` or more."""

    def check(instance: Any, attribute: Any, value: int) -> None:
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{attribute.name} must be a whole number, {least} or more, got {value!r}")

    return check


def a_mapping_of(known: Iterable[str]) -> Validator:
    """Return a validator: a mapping from some of the known quantities to names of columns."""
    known = tuple(known)

    def check(instance: Any, attribute: Any, value: Mapping[str, str]) -> None:
        for quantity, column in value.items():
            if quantity not in known:
                hint = nearest_name(quantity, known)
                raise ValueError(
                    f"{attribute.name} maps {quantity!r}, which is no quantity here{hint} Known: {', '.join(known)}"
                )
            if not isinstance(column, str) or not column.strip():
                raise ValueError(f"{attribute.name}: {quantity} must name a column, got {column!r}")

    return check
