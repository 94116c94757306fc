"""Protects what plugins are given: they get views of arrays and tables that can't be written to."""

from __future__ import annotations

import functools
import sys
from collections.abc import Hashable
from typing import Any

import numpy as np

_TYPES = "lcframework.types"


def shielded(value: Any, deep: bool = True) -> Any:
    """Return a value whose arrays can't be written to; no array is copied.

    Parameters
    ----------
    value
        An array, a table, a value of :mod:`lcframework.types`, or a mapping of these; anything else is returned as it
        is.
    deep : bool
        Whether FITS headers are copied too, which takes long beside all else.
    """
    if isinstance(value, np.ndarray):
        return _view(value)
    cls = type(value)
    if cls.__module__.startswith(_TYPES):
        return _of_attrs(value, deep)
    if cls is dict:
        return {k: shielded(v, deep) for k, v in value.items()}
    # A value can only be one of these where astropy is imported already.
    if (tables := sys.modules.get("astropy.table")) is not None and isinstance(value, tables.Table):
        return _of_table(value)
    if deep and (fits := sys.modules.get("astropy.io.fits")) is not None and isinstance(value, fits.Header):
        return value.copy()
    return value


def _view(array: Any) -> Any:
    if not array.flags.writeable:
        return array
    view = array.view()
    view.flags.writeable = False
    return view


@functools.cache
def _fields(cls: Hashable) -> tuple[str, ...]:
    return tuple(field.name for field in getattr(cls, "__attrs_attrs__", ()))


def _of_attrs(value: Any, deep: bool) -> Any:
    """Return a copy of an attrs value that has shielded arrays; the value itself where it has none."""
    cls: Any = type(value)
    names = _fields(cls)
    before = [getattr(value, name) for name in names]
    after = [shielded(v, deep) for v in before]
    if all(a is b for a, b in zip(after, before, strict=True)):
        return value
    copied = object.__new__(cls)
    for name, content in zip(names, after, strict=True):
        object.__setattr__(copied, name, content)
    return copied


def _of_table(table: Any) -> Any:
    copied = table.copy(copy_data=False)
    for name in copied.colnames:
        column = copied[name]
        if isinstance(column, np.ndarray):
            column.flags.writeable = False
    return copied


def owned(array: Any) -> Any:
    """Return an array that may be written to: a copy where a plugin gives back a read-only view of its input."""
    return array.copy() if isinstance(array, np.ndarray) and not array.flags.writeable else array
