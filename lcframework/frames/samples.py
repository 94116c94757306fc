"""Samples of many files."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def at_equal_steps(items: Sequence[T], most: int) -> list[T]:
    """Return at most so many items at equal steps, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, most).round().astype(int))]


def pairs_alike(items: Sequence[T], kind: Callable[[T], Hashable]) -> list[tuple[T, T]]:
    """Return the pairs of successive items among those of each kind."""
    of_kind: dict[Hashable, list[T]] = {}
    for item in items:
        of_kind.setdefault(kind(item), []).append(item)
    return [pair for same in of_kind.values() for pair in itertools.pairwise(same)]
